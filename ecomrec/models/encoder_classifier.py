"""Serves the fine-tuned query classifier from its sealed folder: tokenizer, ONNX Runtime, no torch."""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ecomrec import artifact
from ecomrec.compress import session
from ecomrec.errors import AuditFailed
from ecomrec.queries import normalise

KIND = "query_classifier"
BATCH = 64


class EncoderClassifier:
    """`predict` and `scores`; made by `load`."""

    def __init__(self, model: Path, tokenizer: Path, categories: list[str], max_tokens: int, threads: int = 0):
        self.categories = categories
        self._session = session(model, threads)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    def scores(self, queries: list[str]) -> np.ndarray:
        """Logits float32 [N, C] in the order of `categories`. Queries of similar length share a batch; padding is masked."""
        distinct = sorted({normalise(query) for query in queries})
        where = {query: row for row, query in enumerate(distinct)}
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(distinct)]
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        found = np.zeros((len(distinct), len(self.categories)), dtype=np.float32)
        for first in range(0, len(order), BATCH):
            rows = order[first:first + BATCH]
            ids, mask = pad([tokens[row] for row in rows])
            found[rows] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return found[[where[normalise(query)] for query in queries]]

    def predict(self, queries: list[str], k: int = 3) -> tuple[list[list[str]], np.ndarray]:
        """The `k` most likely categories of each query, best first, and their probabilities float32 [N, min(k, C)].

        Any text is taken: empty, one letter, a page, emoji, control characters (see `ecomrec.queries.normalise`).
        """
        return best(self.scores(queries), self.categories, k)


def load(folder: Path, threads: int = 0) -> EncoderClassifier:
    """The model sealed in `folder`, on `threads` CPU cores (0: all) or the GPU. Raises AuditFailed when it is not whole."""
    manifest = artifact.read_manifest(folder)
    if manifest["kind"] != KIND:
        raise AuditFailed(f"{folder} holds a {manifest['kind']}, not a {KIND}", "name a version of the query classifier")
    categories = json.loads((folder / "categories.json").read_text(encoding="utf-8"))
    return EncoderClassifier(folder / manifest["model"], folder / "tokenizer.json", categories, manifest["max_tokens"], threads)


def pad(tokens: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and attention mask, int64 [N, longest]; the padding id is 0, as in every BERT vocabulary."""
    ids = np.zeros((len(tokens), max(map(len, tokens))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, found in enumerate(tokens):
        ids[row, :len(found)], mask[row, :len(found)] = found, 1
    return ids, mask


def best(logits: np.ndarray, categories: list[str], k: int) -> tuple[list[list[str]], np.ndarray]:
    """Top `k` names and softmax probabilities [N, min(k, C)] of logits [N, C]; ties go to the first category."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances = shifted / shifted.sum(axis=1, keepdims=True)
    rows = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return [[categories[place] for place in row] for row in rows], np.take_along_axis(chances, rows, axis=1).astype(np.float32)
