"""Serves the fine-tuned query classifier from its sealed folder, without torch."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ecomrec import artifact
from ecomrec.errors import AuditFailed
from ecomrec.models.answers import Answer, Calibration, answer, best, familiarity, probabilities
from ecomrec.models.text_model import TextModel

KIND = "query_classifier"


class EncoderClassifier:
    """`answer`, `predict` and `run`; made by `load`. Any text is taken: see `ecomrec.queries.normalise`."""

    def __init__(self, model: Path | Callable, tokenizer: Path, categories: list[str], max_tokens: int, threads: int = 0,
                 calibration: Calibration | None = None, neighbours: np.ndarray | None = None):
        self.categories, self.calibration = categories, calibration or Calibration()
        self._neighbours = neighbours
        self._model = TextModel(model, tokenizer, max_tokens, threads)

    def run(self, queries: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Raw logits float32 [N, C] in the order of `categories`, and unit vectors float32 [N, d] of what the queries mean."""
        if not queries:
            return np.zeros((0, len(self.categories)), dtype=np.float32), np.zeros((0, 1), dtype=np.float32)
        logits, vectors = self._model.run(queries)
        return logits, vectors

    def predict(self, queries: list[str], k: int = 3) -> tuple[list[list[str]], np.ndarray]:
        """The `k` most likely categories of each query, best first, and their calibrated probabilities float32 [N, min(k, C)]."""
        return best(probabilities(self.run(queries)[0], self.calibration), self.categories, k)

    def familiar(self, queries: list[str]) -> np.ndarray:
        """How much each query looks like this shop's, float64 [N], as the detector chosen in calibration measures it."""
        return familiarity(*self.run(queries), self._neighbours, self.calibration.detector)

    def answer(self, queries: list[str], k: int = 3) -> list[Answer]:
        """The category of each query: a leaf, a parent of it when unsure, or "unknown" for what is not of this shop."""
        logits, vectors = self.run(queries)
        familiar = familiarity(logits, vectors, self._neighbours, self.calibration.detector)
        return answer(probabilities(logits, self.calibration), familiar, self.categories, self.calibration, k)


def load(folder: Path, threads: int = 0) -> EncoderClassifier:
    """The model sealed in `folder`, on `threads` CPU cores (0: all) or the GPU. Raises AuditFailed when it is not whole."""
    manifest = artifact.read_manifest(folder)
    if manifest["kind"] != KIND:
        raise AuditFailed(f"{folder} holds a {manifest['kind']}, not a {KIND}", "name a version of the query classifier")
    categories = json.loads((folder / "categories.json").read_text(encoding="utf-8"))
    return EncoderClassifier(folder / manifest["model"], folder / "tokenizer.json", categories, manifest["max_tokens"], threads,
                             Calibration(**manifest["calibration"]), np.load(folder / "neighbours.npy", allow_pickle=False))
