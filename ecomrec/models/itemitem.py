"""Models that are one item-item matrix: a user's scores are their decayed row times the weights. EASE and item-kNN are of this kind."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import sparse

from ecomrec.models import Histories, Ranked, Recency, decayed_counts, kernels

BLOCK = 1 << 25  # weights that are worked on at a time: 128 MB


@dataclass(frozen=True)
class ItemItem(Ranked):
    item_ids: np.ndarray     # str [I]
    weights: np.ndarray | sparse.csr_matrix  # float32 [I, I]
    recency: Recency         # of the user's row
    popularity: np.ndarray   # float32 [I], for users without history
    item_vectors: np.ndarray | None = None
    threads: int = 1         # blocks of users ranked at once

    @cached_property
    def sparse_weights(self) -> sparse.csr_matrix:
        return sparse.csr_matrix(self.weights)

    def score(self, given: Histories, day: int) -> np.ndarray:
        """Float32 [U, I]."""
        scores = self.rows(given, day)
        return scores.toarray() if sparse.issparse(scores) else scores

    def rows(self, given: Histories, day: int) -> np.ndarray | sparse.csr_matrix:
        """The scores, float32 [U, I], as sparse as the weights are."""
        return self.past(given, day) @ self.weights

    def past(self, given: Histories, day: int) -> sparse.csr_matrix:
        """What part each item has in the user's decayed history, float32 [U, I]: 1 in all, so that scores of short and long histories are
        alike in size."""
        rows = decayed_counts(given, day, self.recency, len(self.item_ids))
        total = np.repeat(np.asarray(rows.sum(axis=1)).ravel(), np.diff(rows.indptr))
        rows.data /= np.maximum(total, np.float32(1e-30))
        return rows

    def shares(self, given: Histories, owned: np.ndarray, day: int) -> np.ndarray:
        """What part each of the items `owned` [U, n] (-1: none) has in the user's row, float32 [U, n]."""
        found = np.asarray(self.past(given, day)[np.repeat(np.arange(len(owned)), owned.shape[1]), np.maximum(owned, 0).ravel()]).reshape(owned.shape)
        return np.where(owned >= 0, found, 0).astype(np.float32)

    def contributions(self, given: Histories, owned: np.ndarray, items: np.ndarray, day: int) -> np.ndarray:
        """See `Ranked.contributions`. Exact: without an item of share p and weight w the score l becomes (l - p w) / (1 - p)."""
        return self.lost(owned, self.shares(given, owned, day), items)

    def lost(self, owned: np.ndarray, share: np.ndarray, items: np.ndarray) -> np.ndarray:
        """`contributions` of users of whom the `shares` of `owned` are known."""
        if sparse.issparse(self.weights):
            return kernels.lost_without(owned, share, items, self.weights.indptr, self.weights.indices, self.weights.data, len(self.item_ids))
        weights = np.where((owned >= 0)[:, None, :] & (items >= 0)[:, :, None], self.weights[np.maximum(owned, 0)[:, None, :], np.maximum(items, 0)[:, :, None]], np.float32(0))
        score = (weights * share[:, None, :]).sum(axis=2, keepdims=True)
        lost = np.where(share[:, None, :] < 1, share[:, None, :] * (weights - score) / np.maximum(1 - share, 1e-6)[:, None, :], score)
        return np.where((items >= 0)[:, :, None] & (owned >= 0)[:, None, :], lost, np.float32(0))


def prune(weights: np.ndarray, keep: int) -> sparse.csr_matrix:
    """The `keep` weights of each row that are largest in size, float32 CSR: what a catalogue of any size can be served with."""
    if keep >= weights.shape[1]:
        return sparse.csr_matrix(weights)
    columns = np.empty((len(weights), keep), dtype=np.int32)
    for first in range(0, len(weights), 1024):  # blocks: the copy that argpartition makes stays small
        part = np.abs(weights[first:first + 1024])
        columns[first:first + 1024] = np.sort(np.argpartition(part, -keep, axis=1)[:, -keep:], axis=1)
    values = np.take_along_axis(weights, columns, axis=1)
    return sparse.csr_matrix((values.ravel().astype(np.float32), columns.ravel(), np.arange(0, columns.size + 1, keep)), shape=weights.shape)


def knn(rows: sparse.csr_matrix, neighbours: int, shrink: float) -> sparse.csr_matrix:
    """Cosine of the items' columns, shrunk towards 0 where few users stand behind it, the `neighbours` largest of each item.

    weights[i, j] = x_i . x_j / (|x_i| |x_j| + shrink) (Sarwar et al. 2001; the shrinkage as in Bell & Koren 2007).
    """
    columns, items = sparse.csr_matrix(rows.T, dtype=np.float32), rows.shape[1]
    lengths, height, kept = np.sqrt(np.asarray(columns.power(2).sum(axis=1)).ravel()), max(1, BLOCK // items), []
    for first in range(0, items, height):  # blocks of items: a frequent item has bought-together counts with nearly every other
        block = (columns[first:first + height] @ rows).toarray().astype(np.float32, copy=False)
        block /= np.maximum(lengths[first:first + height, None] * lengths + np.float32(shrink), np.float32(1e-30))
        np.fill_diagonal(block[:, first:], 0)
        kept.append(prune(block, neighbours))
    product = sparse.csr_matrix(sparse.vstack(kept), dtype=np.float32)
    product.eliminate_zeros()
    return product


def save(folder: Path, model: ItemItem) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights, recency = model.weights, model.recency
    parts = {"data": weights.data, "indices": weights.indices, "indptr": weights.indptr} if sparse.issparse(weights) else {"weights": weights}
    np.savez(folder / "itemitem.npz", item_ids=model.item_ids, popularity=model.popularity,
             recency=np.array([recency.half_life, recency.step, recency.by_event], dtype=np.float64), **parts)


def load(folder: Path, item_vectors: np.ndarray | None = None, threads: int = 1) -> ItemItem:
    with np.load(folder / "itemitem.npz", allow_pickle=False) as data:
        size = len(data["item_ids"])
        weights = data["weights"] if "weights" in data else sparse.csr_matrix((data["data"], data["indices"], data["indptr"]), shape=(size, size))
        half_life, step, by_event = data["recency"].tolist()
        return ItemItem(data["item_ids"], weights, Recency(half_life, step, bool(by_event)), data["popularity"], item_vectors, threads)
