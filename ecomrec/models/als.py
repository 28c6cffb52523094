"""Implicit ALS (Hu, Koren, Volinsky 2008): item factors by the package `implicit`, users folded in from what is known of them now.

A user who bought item i with decayed count r has confidence alpha * r in it and 1 in everything else; their factors are those that
the model would have given them with these item factors: x = (Y'Y + Y'(C - I)Y + lambda I)^-1 Y'C p.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import sparse

from ecomrec.models import Histories, Ranked, Recency, decayed_counts

CELLS = 8_000_000  # padded history factors held at once


@dataclass(frozen=True)
class Als(Ranked):
    item_ids: np.ndarray     # str [I]
    factors: np.ndarray      # float32 [I, f]
    alpha: float
    regularization: float
    recency: Recency         # of the user's row
    popularity: np.ndarray   # float32 [I], for users without history
    item_vectors: np.ndarray | None = None
    threads: int = 1         # blocks of users ranked at once

    def score(self, given: Histories, day: int) -> np.ndarray:
        """Float32 [U, I]."""
        return self.users(decayed_counts(given, day, self.recency, len(self.item_ids))) @ self.factors.T

    @cached_property
    def _gram(self) -> np.ndarray:
        return self.factors.T @ self.factors + np.float32(self.regularization) * np.eye(self.factors.shape[1], dtype=np.float32)

    def users(self, rows: sparse.csr_matrix) -> np.ndarray:
        """Factors float32 [U, f] of users with these decayed counts [U, I]; zeros for a user without any."""
        sizes, found = np.diff(rows.indptr), np.zeros((rows.shape[0], self.factors.shape[1]), dtype=np.float32)
        order = np.argsort(sizes, kind="stable")
        order, start = order[sizes[order] > 0], 0
        while start < len(order):  # users with histories of like length share a padded block
            stop = min(len(order), start + max(1, CELLS // (self.factors.shape[1] * int(sizes[order[-1]]))))
            chosen, start = order[start:stop], stop
            column = np.arange(sizes[chosen[-1]])
            there = column < sizes[chosen, None]
            place = np.minimum(rows.indptr[chosen, None] + column, len(rows.indices) - 1)
            confidence = np.where(there, np.float32(self.alpha) * rows.data[place], 0)[:, :, None]
            own = self.factors[rows.indices[place]] * there[:, :, None]
            left = self._gram + np.matmul(own.transpose(0, 2, 1), own * np.where(there[:, :, None], confidence - 1, 0))
            found[chosen] = np.linalg.solve(left, (own * confidence).sum(axis=1)[:, :, None])[:, :, 0]
        return found


def fit(rows: sparse.csr_matrix, factors: int, alpha: float, regularization: float, iterations: int, seed: int, threads: int = 0) -> np.ndarray:
    """Item factors float32 [I, factors] from the users' decayed counts [U, I]. threads: 0 is all cores."""
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    model = AlternatingLeastSquares(factors, regularization=regularization, alpha=alpha, iterations=iterations, random_state=seed, num_threads=threads)
    with threadpool_limits(1, "blas"):  # implicit runs its own threads
        model.fit(sparse.csr_matrix(rows, dtype=np.float32), show_progress=False)
    return np.asarray(model.item_factors, dtype=np.float32)


def save(folder: Path, model: Als) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    recency = model.recency
    np.savez(folder / "als.npz", item_ids=model.item_ids, factors=model.factors, popularity=model.popularity,
             numbers=np.array([model.alpha, model.regularization, recency.half_life, recency.step, recency.by_event], dtype=np.float64))


def load(folder: Path, item_vectors: np.ndarray | None = None, threads: int = 1) -> Als:
    with np.load(folder / "als.npz", allow_pickle=False) as data:
        alpha, regularization, half_life, step, by_event = data["numbers"].tolist()
        return Als(data["item_ids"], data["factors"], alpha, regularization, Recency(half_life, step, bool(by_event)), data["popularity"], item_vectors, threads)
