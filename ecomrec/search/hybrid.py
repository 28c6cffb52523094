"""Products for a query: what the encoder finds by meaning and BM25 by words, fused. Serves a sealed retriever, without torch."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from ecomrec import artifact
from ecomrec.errors import AuditFailed, SettingsError
from ecomrec.models.text_model import TextModel
from ecomrec.queries import normalise
from ecomrec.search.lexical import Lexical

KIND = "retriever"
RERANKED = 50
BLOCK = 256  # queries scored at once


@dataclass(frozen=True)
class Retriever:
    """The encoder (None: BM25 alone) and how its cosine is weighed against BM25."""

    encoder: TextModel | None
    weight: float   # 0: BM25 alone … 1: the encoder alone
    depth: int      # candidates of each side
    reranker: Callable[[str, list[str]], np.ndarray] | None = None
    reader: TextModel | None = None  # a small student that places queries where the encoder would; None: the encoder reads them too

    def encode(self, texts: list[str]) -> np.ndarray:
        """Unit vectors float32 [N, d] of product texts."""
        return self.encoder.run(texts)[0]

    def encode_queries(self, queries: list[str]) -> np.ndarray:
        """Unit vectors float32 [N, d] of queries, in the same space."""
        return (self.reader or self.encoder).run(queries)[0]

    def search(self, queries: list[str], vectors: np.ndarray | None, lexical: Lexical, texts: list[str], k: int) -> tuple[np.ndarray, np.ndarray]:
        """The `k` best products of each query: rows int32 [Q, k], -1 for none, and scores float32 [Q, k] in 0–1, falling: after a re-ranker
        those of the places, as its own have no scale. An empty query finds nothing.

        Raises SettingsError where the re-ranker does not give a number for each text.
        """
        rows, scores = np.full((len(queries), k), -1, dtype=np.int32), np.zeros((len(queries), k), dtype=np.float32)
        plain = [normalise(query) for query in queries]
        for first in range(0, len(plain), BLOCK):
            block = plain[first:first + BLOCK]
            cosine = self.encode_queries(block) @ vectors.T if self.weight > 0 and vectors is not None else None
            for place, query in enumerate(block):
                if not query:
                    continue
                words = lexical.scores(query) if self.weight < 1 else None
                found, value = fuse(None if cosine is None else cosine[place], words, self.weight, self.depth, max(k, RERANKED if self.reranker else 0))
                if self.reranker and len(found):
                    head = found[:RERANKED]
                    judged = np.asarray(self.reranker(query, [texts[row] for row in head]), dtype=np.float64)
                    if judged.shape != head.shape or not np.isfinite(judged).all():
                        raise SettingsError(f"fusion.reranker gave {judged.shape} scores, or some that are no numbers, for {len(head)} texts of the query {query[:40]!r}",
                                            "let it return one finite number for each text")
                    found[:RERANKED] = head[np.argsort(-judged, kind="stable")]
                rows[first + place, :min(k, len(found))], scores[first + place, :min(k, len(found))] = found[:k], value[:k]
        return rows, scores


def fuse(cosine: np.ndarray | None, words: np.ndarray | None, weight: float, depth: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best rows of one query and their scores: each side is scaled to 0–1 over its `depth` best, then weighed and added."""
    sides = [(share, side) for share, side in ((weight, cosine), (1 - weight, words)) if side is not None and share > 0]
    candidates, scaled = [], []
    for share, side in sides:
        best = np.argpartition(-side, min(depth, len(side)) - 1)[:depth]
        best = best[side[best] > (-np.inf if side is cosine else 0)]
        low, high = (side[best].min(), side[best].max()) if len(best) else (0.0, 0.0)
        low = min(low, 0.0) if side is words else low  # one match by words is a match, not the worst of them
        candidates.append(best)
        scaled.append((share, side, low, max(high - low, 1e-6)))
    rows = np.unique(np.concatenate(candidates)) if candidates else np.zeros(0, dtype=np.int64)
    total = sum((share * np.clip((side[rows] - low) / width, 0, 1) for share, side, low, width in scaled), np.zeros(len(rows)))
    order = np.argsort(-total, kind="stable")[:k]
    return rows[order].astype(np.int32), total[order].astype(np.float32)


def load(folder: Path, threads: int = 0) -> Retriever:
    """The model sealed in `folder`. Raises AuditFailed when it is not whole."""
    manifest = artifact.read_manifest(folder)
    if manifest["kind"] != KIND:
        raise AuditFailed(f"{folder} holds a {manifest['kind']}, not a {KIND}", "name a version of the retriever")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not config["model"]:
        return Retriever(None, 0.0, config["depth"], reranker(config["reranker"]))
    encoder = TextModel(folder / config["model"], folder / "tokenizer.json", config["max_tokens"], threads)
    reader = TextModel(folder / config["reader"], folder / "reader.tokenizer.json", config["max_tokens"], threads) if config.get("reader") else None
    return Retriever(encoder, config["weight"], config["depth"], reranker(config["reranker"]), reader)


def reranker(name: str) -> Callable[[str, list[str]], np.ndarray] | None:
    """The function `package.module:function`, which scores product texts for a query (a cross-encoder, say); None without a name."""
    if not name:
        return None
    module, _, function = name.partition(":")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"fusion.reranker = {name}: {error}", "write it as package.module:function") from error
