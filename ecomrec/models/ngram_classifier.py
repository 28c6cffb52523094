"""The baseline that a fine-tuned encoder must beat: TF-IDF of character n-grams and logistic regression (scikit-learn).

Multinomial log loss, each query weighted by how often and how strongly it led to the
category; its probabilities are calibrated on validation queries. Saved as arrays and JSON, no pickle, so it can serve when the gates refuse the encoder.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from ecomrec import artifact, calibration
from ecomrec.errors import AuditFailed
from ecomrec.models.answers import Answer, Calibration, answer, best, probabilities
from ecomrec.queries import normalise

KIND = "ngram_classifier"
NGRAMS = (2, 4)


class NgramClassifier:
    """`answer`, `predict` and `scores`, as in `ecomrec.models.encoder_classifier`; made by `fit` or `load`. "unknown" is what shares no n-gram with what was
    learned."""

    def __init__(self, vectorizer: TfidfVectorizer, weights: np.ndarray, bias: np.ndarray, categories: list[str], temperature: float = 1.0):
        self.vectorizer, self.weights, self.bias, self.categories = vectorizer, weights, bias, categories
        self.calibration = Calibration(temperature, least=0.5)

    def scores(self, queries: list[str]) -> np.ndarray:
        """Logits float32 [N, C]."""
        return self._logits(self._read(queries))

    def _read(self, queries: list[str]):
        return self.vectorizer.transform([normalise(query) for query in queries])

    def _logits(self, rows) -> np.ndarray:
        return (rows @ self.weights + self.bias).astype(np.float32)

    def predict(self, queries: list[str], k: int = 3) -> tuple[list[list[str]], np.ndarray]:
        """The `k` most likely categories of each query and their probabilities float32 [N, min(k, C)]."""
        return best(probabilities(self.scores(queries), self.calibration), self.categories, k)

    def answer(self, queries: list[str], k: int = 3) -> list[Answer]:
        """The category of each query: a leaf, a parent of it when unsure, or "unknown"."""
        rows = self._read(queries)
        return answer(probabilities(self._logits(rows), self.calibration), (rows.getnnz(axis=1) > 0).astype(float), self.categories, self.calibration, k)

    def calibrate(self, queries: list[str], labels: list[str], weight: np.ndarray) -> "NgramClassifier":
        """The same model with the temperature that fits these (validation) queries best; those of categories that it does not know say nothing."""
        column = {name: place for place, name in enumerate(self.categories)}
        known = np.flatnonzero([label in column for label in labels])
        target = np.array([column[labels[row]] for row in known], dtype=np.int64)
        heat = calibration.temperature(self.scores([queries[row] for row in known]) if len(known) else np.zeros((0, 1)), target, np.asarray(weight)[known], "softmax")
        return NgramClassifier(self.vectorizer, self.weights, self.bias, self.categories, heat)

    def save(self, folder: Path, **facts) -> None:
        """Writes and seals the model in `folder`, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        words = {word: int(place) for word, place in self.vectorizer.vocabulary_.items()}
        (folder / "vocabulary.json").write_text(json.dumps(words, sort_keys=True), encoding="utf-8")
        (folder / "categories.json").write_text(json.dumps(self.categories), encoding="utf-8")
        np.savez_compressed(folder / "weights.npz", idf=self.vectorizer.idf_, weights=self.weights.astype(np.float16), bias=self.bias)
        artifact.write_manifest(folder, KIND, temperature=self.calibration.temperature, **facts)


def fit(queries: list[str], categories: list[str], weight: np.ndarray, features: int, seed: int) -> NgramClassifier:
    """Fits on rows (query, category, weight); at most `features` n-grams."""
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, max_features=features, sublinear_tf=True, dtype=np.float32)
    texts = vectorizer.fit_transform(queries)
    names = sorted(set(categories))
    if len(names) == 1:
        return NgramClassifier(vectorizer, np.zeros((texts.shape[1], 1), dtype=np.float32), np.zeros(1, dtype=np.float32), names)
    model = LogisticRegression(C=10.0, max_iter=40, tol=1e-3, solver="lbfgs", random_state=seed)
    model.fit(texts, np.searchsorted(names, categories), sample_weight=weight / weight.mean())
    weights, bias = model.coef_.T, model.intercept_
    if len(names) == 2:  # scikit-learn keeps one column for two classes
        weights, bias = np.hstack([np.zeros_like(weights), weights]), np.array([0.0, bias[0]])
    return NgramClassifier(vectorizer, weights.astype(np.float32), bias.astype(np.float32), names)


def load(folder: Path, threads: int = 0) -> NgramClassifier:
    """The model sealed in `folder`; `threads` is there for likeness. Raises AuditFailed when it is not whole."""
    del threads
    manifest = artifact.read_manifest(folder)
    if manifest["kind"] != KIND:
        raise AuditFailed(f"{folder} holds a {manifest['kind']}, not a {KIND}", "name a version of the query classifier")
    arrays = np.load(folder / "weights.npz", allow_pickle=False)
    words = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True, dtype=np.float32, vocabulary=words)
    vectorizer.idf_ = arrays["idf"]
    categories = json.loads((folder / "categories.json").read_text(encoding="utf-8"))
    return NgramClassifier(vectorizer, arrays["weights"].astype(np.float32), arrays["bias"], categories, manifest.get("temperature", 1.0))
