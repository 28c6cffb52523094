"""What the user themself bought most and latest; what everybody buys breaks ties and fills the list. Strong where goods are bought again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecomrec.models import FADED, Histories, Recommender, decayed_counts, rank


@dataclass(frozen=True)
class Frequency(Recommender):
    item_ids: np.ndarray    # str [I]
    half_life: float        # days
    popularity: np.ndarray  # float32 [I]
    item_vectors: np.ndarray | None = None

    def recommend(self, histories: Histories, day: int, k: int, exclude_bought: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """See `ecomrec.models.rank`."""
        tie = (self.popularity / max(float(self.popularity.max(initial=0)), 1.0)).astype(np.float32)

        def score(block: Histories) -> np.ndarray:
            counts = decayed_counts(block, day, self.half_life, len(tie))
            counts.data *= 1 + np.float32(1e-3) * tie[counts.indices]
            return counts.toarray() + tie * np.float32(2.0 ** -(FADED + 10))  # below anything that fading leaves of a purchase

        return rank(score, histories, self.popularity, k, exclude_bought)


def save(folder: Path, model: Frequency) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "frequency.npz", item_ids=model.item_ids, half_life=np.float64(model.half_life), popularity=model.popularity)


def load(folder: Path, item_vectors: np.ndarray | None = None) -> Frequency:
    with np.load(folder / "frequency.npz", allow_pickle=False) as data:
        return Frequency(data["item_ids"], float(data["half_life"]), data["popularity"], item_vectors)
