"""Loads a sealed model folder of any kind; what it returns recommends. The only door: evaluation and publication both go through it.

A model has `item_ids` (str [I]), `item_vectors` (float32 [I, d], length 1, or None) and
`recommend(histories, day, k, exclude_bought) -> (items int32 [U, k], scores float32 [U, k])`; see `ecomrec.models.rank`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecomrec import artifact, compress
from ecomrec.errors import AuditFailed
from ecomrec.models import Histories, decayed_counts, frequency, itemitem, popularity, rank
from ecomrec.models.sequential import baskets, user_vectors


@dataclass(frozen=True)
class Sequential:
    """The transformer as it is served, blended with an item-item model: tables in numpy, the user encoder behind `encode`
    (ONNX Runtime, or PyTorch in training)."""

    item_ids: np.ndarray
    table: np.ndarray       # float32 [I, d]
    bias: np.ndarray        # float32 [I]
    popularity: np.ndarray  # float32 [I]
    encode: object          # (vectors float32 [B, T, d], days int64 [B, T]) -> float32 [B, T, d]
    max_baskets: int
    half_life: float        # days
    again: np.ndarray       # float32 [I], r: how readily an item is bought again
    repeat: float           # w, weight of the repeat component …
    scale: float            # … s, what it multiplies the decayed counts by …
    share: float            # … and a, what it keeps of the rest of the score
    linear: itemitem.ItemItem | None = None
    blend: float = 0.0      # 0-1, the part of `linear` in the score before repeat buying
    readiness: float = 1.0  # weight of r
    trend: float = 0.0      # weight of log1p(popularity): what sells just now, which no long history says
    by_event: bool = False  # a position of the sequence is an event, not a day's basket
    item_vectors: np.ndarray | None = None

    def recommend(self, histories: Histories, day: int, k: int, exclude_bought: bool = False) -> tuple[np.ndarray, np.ndarray]:
        return rank(lambda block: self.score(block, day), histories, self.popularity, k, exclude_bought)

    def transformer(self, given: Histories) -> np.ndarray:
        """The transformer's scores, float32 [U, I]."""
        newest = baskets(given.offsets, given.items, given.days, given.weights, self.max_baskets, self.by_event)
        scores = user_vectors(self.encode, self.table, newest) @ self.table.T
        scores += self.bias
        return scores

    def base(self, given: Histories, day: int) -> np.ndarray:
        """Scores without the repeat component, float32 [U, I]."""
        return self.mix(self.transformer(given), self.linear.score(given, day)) if self.blend else self.transformer(given)

    def score(self, given: Histories, day: int) -> np.ndarray:
        """Float32 [U, I]."""
        return self.finish(self.base(given, day), decayed_counts(given, day, self.half_life, len(self.item_ids)))

    def mix(self, scores: np.ndarray, linear: np.ndarray) -> np.ndarray:
        """Both brought to the same spread over the items of each user, which is the transformer's. [U, I], a new array."""
        mean, spread = scores.mean(axis=1, keepdims=True), scores.std(axis=1, keepdims=True)
        other = linear.std(axis=1, keepdims=True)
        factor = np.float32(self.blend) * spread / np.maximum(other, np.float32(1e-12))
        return np.float32(1 - self.blend) * (scores - mean) + factor * (linear - linear.mean(axis=1, keepdims=True)) + mean

    def finish(self, scores: np.ndarray, counts) -> np.ndarray:
        """`scores` [U, I] with the repeat component for what was bought (`counts`: sparse [U, I]) and the trend for all, in place."""
        if self.repeat:
            rows, items = np.repeat(np.arange(len(scores)), np.diff(counts.indptr)), counts.indices
            habit = np.float32(self.repeat) * np.log1p(np.float32(self.scale) * counts.data) + np.float32(self.readiness) * self.again[items]
            scores[rows, items] = np.float32(self.share) * scores[rows, items] + habit
        if self.trend:
            scores += np.float32(self.trend) * np.log1p(self.popularity)
        return scores


def onnx_encoder(path: Path, threads: int = 0):
    """`encode` on ONNX Runtime."""
    session = compress.session(path, threads)
    return lambda vectors, days: session.run(None, {"vectors": vectors, "days": days})[0]


def load(folder: Path, threads: int = 0):
    """The model in `folder`. Raises AuditFailed when a file is missing or altered, or the kind is none of the recommender's."""
    manifest = artifact.read_manifest(folder)
    vectors = folder / "item_vectors.npy"
    item_vectors = np.load(vectors, allow_pickle=False).astype(np.float32) if vectors.is_file() else None
    match manifest["kind"]:
        case "sequential":
            return sequential(folder, json.loads((folder / "config.json").read_text(encoding="utf-8")), threads, item_vectors)
        case "itemitem":
            return itemitem.load(folder, item_vectors)
        case "frequency":
            return frequency.load(folder, item_vectors)
        case "popularity":
            return popularity.load(folder, item_vectors)
        case kind:
            raise AuditFailed(f"{folder} holds a model of kind {kind}, which does not recommend", "name a version of the recommender")


def sequential(folder: Path, config: dict, threads: int = 0, item_vectors: np.ndarray | None = None) -> Sequential:
    """The sequential model in `folder`, sealed or not yet; `config` names the ONNX file and the numbers of the blend."""
    with np.load(folder / "tables.npz", allow_pickle=False) as data:
        tables = {name: data[name] for name in ("item_ids", "table", "bias", "popularity", "again")}
    numbers = {name: config[name] for name in ("max_baskets", "half_life", "repeat", "scale", "share", "blend", "readiness", "trend", "by_event")}
    return Sequential(**tables, **numbers, encode=onnx_encoder(folder / config["encoder"], threads), linear=itemitem.load(folder / "linear"),
                      item_vectors=item_vectors)
