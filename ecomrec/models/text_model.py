"""Runs an exported text model: tokenizer and ONNX Runtime, no torch. Every variant that compression makes is run by this."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ecomrec.compression.graph import session
from ecomrec.models.tokens import hashed, pad
from ecomrec.queries import normalise

BATCH = 64
MOST_CHARACTERS = 1000  # more than any model here reads


class TextModel:
    """Texts → the model's outputs, one row a text. Any text is taken: see `ecomrec.queries.normalise`."""

    def __init__(self, model: Path | Callable, tokenizer: Path, max_tokens: int, threads: int = 0):
        """`model`: an ONNX file, or what stands in for it: run(None, {input: array}) -> [array]."""
        if isinstance(model, Path):
            opened = session(model, threads)
            self._run, self._reads = opened.run, {given.name for given in opened.get_inputs()}
        else:
            self._run, self._reads = model, {"input_ids", "attention_mask", "ngrams"}
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    def run(self, texts: list[str]) -> list[np.ndarray]:
        """Each output float32 [N, …]; at least one text. Equal texts are computed once, those of similar length share a batch."""
        plain = [normalise(text, MOST_CHARACTERS) for text in texts]
        distinct = sorted(set(plain))
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(distinct)]
        order, outputs = sorted(range(len(tokens)), key=lambda row: len(tokens[row])), None
        for first in range(0, len(order), BATCH):
            rows = order[first:first + BATCH]
            ids, mask = pad([tokens[row] for row in rows])
            given = {"input_ids": ids, "attention_mask": mask}
            if "ngrams" in self._reads:
                given["ngrams"] = pad([hashed(distinct[row]) for row in rows])[0]
            found = self._run(None, given)
            outputs = outputs or [np.empty((len(distinct), *part.shape[1:]), dtype=part.dtype) for part in found]
            for whole, part in zip(outputs, found, strict=True):
                whole[rows] = part
        where = {text: row for row, text in enumerate(distinct)}
        chosen = [where[text] for text in plain]
        return [whole[chosen] for whole in outputs]


def answer_once(place: str, max_tokens: str) -> None:
    """Loads the model and tokenizer of the folder `place` and answers a batch: for whoever measures what memory that takes."""
    TextModel(Path(place) / "model.onnx", Path(place) / "tokenizer.json", int(max_tokens)).run([f"query {number}" for number in range(64)])
