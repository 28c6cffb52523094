"""What sold most lately, the same list for everyone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecomrec.models import Histories, Recommender, rank
from ecomrec.models.topn import top


@dataclass(frozen=True)
class Popularity(Recommender):
    item_ids: np.ndarray  # str [I]
    counts: np.ndarray    # float32 [I]
    item_vectors: np.ndarray | None = None

    @property
    def popularity(self) -> np.ndarray:
        """float32 [I], as every model has it."""
        return self.counts

    def score(self, given: Histories, day: int) -> np.ndarray:
        """The same for everyone, float32 [U, I]."""
        return np.broadcast_to(self.counts, (len(given), len(self.counts)))

    def recommend(self, histories: Histories, day: int, k: int, exclude_bought: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """See `ecomrec.models.rank`."""
        if not exclude_bought:
            ids, scores = top(np.asarray(self.counts, dtype=np.float32)[None, :], k)
            return np.repeat(ids, len(histories), axis=0), np.repeat(scores, len(histories), axis=0)
        return rank(lambda block: self.score(block, day), histories, self.counts, k, exclude_bought)


def count(item: np.ndarray, day: np.ndarray, weight: np.ndarray, until: int, days: int, items: int) -> np.ndarray:
    """Weight of each item on the `days` days before day `until`, float32 [items]."""
    keep = (day >= until - days) & (day < until) & (item < items)
    return np.bincount(item[keep], weights=weight[keep], minlength=items).astype(np.float32)


def save(folder: Path, model: Popularity) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "popularity.npz", item_ids=model.item_ids, counts=model.counts)


def load(folder: Path, item_vectors: np.ndarray | None = None) -> Popularity:
    with np.load(folder / "popularity.npz", allow_pickle=False) as data:
        return Popularity(data["item_ids"], data["counts"], item_vectors)
