"""EASE (Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data) with recency: decayed training rows, decayed user rows.

B = I - P diag(P)^-1 with P = (X'X + lambda I)^-1; a user's scores are their decayed row times B. The diagonal of B is zero.
Needs items² floats of memory and items³ time: cap the items.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import linalg, sparse

from ecomrec.models import Histories, decayed_counts, rank


@dataclass(frozen=True)
class Ease:
    item_ids: np.ndarray    # str [I]
    weights: np.ndarray     # float32 [I, I], B
    half_life: float        # days, of the user's row at inference
    popularity: np.ndarray  # float32 [I], for users without history
    item_vectors: np.ndarray | None = None

    def recommend(self, histories: Histories, day: int, k: int, exclude_bought: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """See `ecomrec.models.rank`. `day` is the day that recency is counted from."""
        def score(block: Histories) -> np.ndarray:
            return decayed_counts(block, day, self.half_life, len(self.item_ids)) @ self.weights
        return rank(score, histories, self.popularity, k, exclude_bought)


def gram(rows: sparse.csr_matrix) -> np.ndarray:
    """X'X, float32 [I, I]."""
    return np.asarray((rows.T @ rows).todense(), dtype=np.float32)


def fit(product: np.ndarray, penalty: float) -> np.ndarray:
    """B, float32 [I, I], from the Gram matrix `product` (left as it is) by Cholesky in float32."""
    matrix = product.copy(order="F")
    matrix[np.diag_indices_from(matrix)] += penalty
    factor, info = linalg.lapack.spotrf(matrix, lower=1, clean=0, overwrite_a=1)
    if info:
        raise ValueError(f"the Gram matrix plus {penalty} is not positive definite (spotrf says {info}): raise lambda")
    inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return np.ascontiguousarray(weights)


def save(folder: Path, model: Ease) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "ease.npz", item_ids=model.item_ids, half_life=np.float64(model.half_life), popularity=model.popularity,
             weights=model.weights)


def load(folder: Path, item_vectors: np.ndarray | None = None) -> Ease:
    with np.load(folder / "ease.npz", allow_pickle=False) as data:
        return Ease(data["item_ids"], data["weights"], float(data["half_life"]), data["popularity"], item_vectors)
