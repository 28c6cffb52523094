"""The sequential model as it is served: the transformer of models/sequential.py, the item-item model and repeat buying in one score."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import sparse

from ecomrec.compression import graph
from ecomrec.models import (
    Histories,
    Ranked,
    decayed_counts,
    itemitem,
    kernels,
    nearest,
    standin,
    tables,
)
from ecomrec.models.sequential import baskets, user_vectors
from ecomrec.models.topn import top

WHOLE = 20_000      # items of which all are scored rather than searched: of so few a search would read too few cells
CELLS = 2_000_000   # scores held at once


@dataclass(frozen=True)
class Sequential(Ranked):
    """The transformer as it is served, blended with an item-item model: tables in numpy, the user encoder behind `encode`
    (ONNX Runtime, or PyTorch in training)."""

    item_ids: np.ndarray
    table: np.ndarray       # float32 [I, d]
    bias: np.ndarray        # float32 [I]
    popularity: np.ndarray  # float32 [I]
    encode: object          # (vectors float32 [B, T, d], days int64 [B, T], last int64 [B]) -> float32 [B, d]
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
    threads: int = 1        # blocks of users ranked at once
    stand_in: standin.StandIn | None = None  # for `contributions`
    index: nearest.Index | None = None  # of a catalogue that is too large to score whole

    def vectors(self, given: Histories) -> np.ndarray:
        """What the transformer makes of each user, float32 [U, d]."""
        return user_vectors(self.encode, self.table, baskets(given.offsets, given.items, given.days, given.weights, self.max_baskets, self.by_event))

    def score(self, given: Histories, day: int, vectors: np.ndarray | None = None) -> np.ndarray:
        """Float32 [U, I]; `vectors`: those of these histories, if the caller has them."""
        linear = None
        if self.blend:
            linear = (self.linear.past(given, day), self.linear.weights) if sparse.issparse(self.linear.weights) else self.linear.rows(given, day)
        return self.combine(self.vectors(given) if vectors is None else vectors, linear,
                            decayed_counts(given, day, self.half_life, len(self.item_ids)) if self.repeat else None)

    def combine(self, vectors: np.ndarray, linear: np.ndarray | sparse.csr_matrix | tuple[sparse.csr_matrix, sparse.csr_matrix] | None,
                counts: sparse.csr_matrix | None) -> np.ndarray:
        """The score from its parts, float32 [U, I]: the transformer and the item-item model, brought to the transformer's spread over
        the items of each user, then the repeat component for what was bought (`counts` [U, I]) and the trend for all. `linear`: the item-item
        model's scores [U, I], or a sparse pair whose product they are, which is then never made.

        With t the transformer's score, l the item-item model's, m and s their means and spreads over the items of the user:
        (1 - blend) (t - m_t) + blend s_t / s_l (l - m_l) + m_t. The moments of t follow from those of the table, so one matrix
        product and one pass over l do it.
        """
        rows, amount = self._asked(vectors)
        scores = kernels.product(rows, self._wide, len(self.bias))
        if self.blend and isinstance(linear, np.ndarray):
            linear_mean, linear_spread = _moments(linear)
            scores += (amount / np.maximum(linear_spread, 1e-12)).astype(np.float32)[:, None] * (linear - linear_mean.astype(np.float32)[:, None])
        elif self.blend:
            rows, weights = linear if isinstance(linear, tuple) else (linear, sparse.identity(linear.shape[1], dtype=np.float32, format="csr"))
            kernels.add_spread(scores, rows.indptr, rows.indices, rows.data, weights.indptr, weights.indices, weights.data, amount)
        if self.repeat:
            users, items = np.repeat(np.arange(len(scores)), np.diff(counts.indptr)), counts.indices
            scores[users, items] = self._with_habit(scores[users, items], items, counts.data)
        return scores

    def score_some(self, given: Histories, day: int, items: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """`score` of the items of an ascending int32 `items` [U, W] alone, float32 [U, W], up to rounding; time grows with W and not with the catalogue."""
        rows, amount = self._asked(vectors)
        scores = kernels.product_of(rows, self.tall, items)
        if self.blend:
            past, weights = self.linear.past(given, day), self.linear.sparse_weights
            kernels.add_spread_of(scores, items, past.indptr, past.indices, past.data, weights.indptr, weights.indices, weights.data, amount, len(self.bias))
        if self.repeat:
            counts = decayed_counts(given, day, self.half_life, len(self.bias))
            user = np.repeat(np.arange(len(scores)), np.diff(counts.indptr))
            at, there = nearest.places(items, user, counts.indices, len(self.bias))
            user, at = user[there], at[there]
            scores[user, at] = self._with_habit(scores[user, at], counts.indices[there], counts.data[there])
        return scores

    def nearest(self, given: Histories, day: int, count: int, vectors: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """Items among which nearly all of the `count` are that score highest, repeat buying aside, and what comes after them, int32 [U, w], -1 where
        there is none: what the index finds for the transformer, and what the item-item model is for, `index.depth` times `count` of each.
        `allowed`: bool [I], where not all are; of a few all are scored."""
        count *= self.index.depth
        if allowed is not None and (few := np.flatnonzero(allowed).astype(np.int32)).size <= WHOLE:
            found = np.full((len(vectors), count), -1, dtype=np.int32)
            step = max(1, CELLS // max(few.size, 1))
            for first in range(0, len(vectors) if few.size else 0, step):
                block = given.users(first, min(first + step, len(vectors)))
                best = top(self.score_some(block, day, np.broadcast_to(few, (len(block), few.size)), vectors[first:first + step]), count)[0]
                found[first:first + step] = np.where(best >= 0, few[best], -1)
            return found
        rows, _ = self._asked(vectors)
        rows[:, -2] = 0  # what is added to all items alike
        found = [self.index.search(rows, count, allowed)]
        if self.blend:
            past, weights = self.linear.past(given, day), self.linear.sparse_weights
            allowed = np.ones(len(self.bias), dtype=bool) if allowed is None else allowed
            found.append(kernels.strongest(past.indptr, past.indices, past.data, weights.indptr, weights.indices, weights.data, allowed, count))
        return np.concatenate(found, axis=1)

    def _asked(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Users' rows for `_wide`, float32 [U, d + 3], and what a spread of the item-item model's scores is worth to each, float64 [U]."""
        keep, shift, amount = np.ones(len(vectors)), np.zeros(len(vectors)), None
        if self.blend:
            mean, spread = self._moments(vectors)
            keep, shift, amount = keep - self.blend, self.blend * mean, self.blend * spread
        return np.column_stack((keep[:, None] * vectors, keep, shift, np.ones(len(vectors)))).astype(np.float32), amount

    def _with_habit(self, scores: np.ndarray, items: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Scores [n] of items that were bought, from those without repeat buying and the decayed counts."""
        habit = np.float32(self.repeat) * np.log1p(np.float32(self.scale) * counts) + np.float32(self.readiness) * self.again[items]
        trend = self._wide[-1, items]
        return np.float32(self.share) * (scores - trend) + habit + trend

    def contributions(self, given: Histories, owned: np.ndarray, items: np.ndarray, day: int) -> np.ndarray | None:
        """What the score of each of `items` [U, k] would lose without each of the items `owned` [U, n] in the user's history, float32
        [U, k, n]; both are places of items, -1 is none. None where the model has no stand-in.

        For items that the user never bought: of the others most of the score is the repeat component. The transformer's part is the
        stand-in's; the item-item model's is exact but for its spread, which is taken to be that of independent rows of the weights.
        """
        if self.stand_in is None:
            return None
        taken = baskets(given.offsets, given.items, given.days, given.weights, self.max_baskets, self.by_event)
        each, vectors = standin.losses(self.stand_in, self.table, taken, owned)
        adds = np.matmul(self.table[np.maximum(items, 0)], each.transpose(0, 2, 1))
        if self.blend:
            share = self.linear.shares(given, owned, day)
            factor = self.blend * self._moments(vectors)[1] / np.maximum(np.sqrt((share ** 2).sum(axis=1)) * self._linear_spread, 1e-12)
            adds = np.float32(1 - self.blend) * adds + factor.astype(np.float32)[:, None, None] * self.linear.lost(owned, share, items)
        return np.where((items >= 0)[:, :, None] & (owned >= 0)[:, None, :], adds, np.float32(0))

    @cached_property
    def _linear_spread(self) -> float:
        """Root mean square over the items of the spread of their rows of weights."""
        return float(np.sqrt((_moments(self.linear.weights)[1] ** 2).mean()))

    @cached_property
    def _wide(self) -> np.ndarray:
        """What a user's row is multiplied with, float32 [d + 3, I and up to 31 columns of nothing]: the table, the bias, ones, the trend. Rows are an
        odd number of cache lines long: rows a multiple of a page apart would push one another out of the cache."""
        lines = -(-len(self.bias) // 16) | 1
        wide = np.zeros((self.table.shape[1] + 3, 16 * lines), dtype=np.float32)
        wide[:, :len(self.bias)] = np.vstack((self.table.T, self.bias, np.ones_like(self.bias), np.float32(self.trend) * np.log1p(self.popularity)))
        return wide

    @cached_property
    def tall(self) -> np.ndarray:
        """`_wide` item by item, float32 [I, d + 3]: its inner products with users' rows are the scores before the item-item model and repeat buying."""
        return np.ascontiguousarray(self._wide[:, :len(self.bias)].T)

    @cached_property
    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean [d + 1] and covariance [d + 1, d + 1] of table and bias over the items."""
        wide = self._wide[:-2, :len(self.bias)].astype(np.float64)
        return wide.mean(axis=1), np.cov(wide, bias=True)

    def _moments(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the transformer's scores over the items, float64 [U] each."""
        mean, covariance = self._known
        asked = np.column_stack((vectors, np.ones(len(vectors)))).astype(np.float64)
        return asked @ mean, np.sqrt(np.maximum(((asked @ covariance) * asked).sum(axis=1), 0))


def _moments(rows: np.ndarray | sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each row, zeros included, float64 [U] each."""
    if not sparse.issparse(rows):
        return rows.mean(axis=1, dtype=np.float64), rows.std(axis=1, dtype=np.float64)
    filled = np.diff(rows.indptr) > 0
    mean, square = np.zeros(rows.shape[0]), np.zeros(rows.shape[0])
    if filled.any():
        starts = rows.indptr[:-1][filled]
        mean[filled], square[filled] = (np.add.reduceat(values, starts, dtype=np.float64) / rows.shape[1] for values in (rows.data, rows.data * rows.data))
    return mean, np.sqrt(np.maximum(square - mean ** 2, 0))


def onnx_encoder(path: Path, threads: int = 0):
    """`encode` on ONNX Runtime."""
    session = graph.session(path, threads)
    if len(session.get_inputs()) == 3:
        return lambda vectors, days, last: session.run(None, {"vectors": vectors, "days": days, "last": last})[0]
    # Versions made before the last position alone was computed give all of them.
    return lambda vectors, days, last: session.run(None, {"vectors": vectors, "days": days})[0][np.arange(len(last)), last]


def sequential(folder: Path, config: dict, threads: int = 0, item_vectors: np.ndarray | None = None) -> Sequential:
    """The sequential model in `folder`, sealed or not yet; `config` names the ONNX file and the numbers of the blend, and the tables' file
    while that is not the folder's own."""
    listed = tables.load(folder / config.get("tables", tables.FILE))
    numbers = {name: config[name] for name in ("max_baskets", "half_life", "repeat", "scale", "share", "blend", "readiness", "trend", "by_event")}
    index = nearest.load(folder / nearest.FILE, config["probes"], config["depth"]) if config.get("probes") else None
    # Blocks of users run side by side, each with one thread: little waits for another.
    return Sequential(**listed, **numbers, encode=onnx_encoder(folder / config["encoder"], 1), linear=itemitem.load(folder / "linear"),
                      item_vectors=item_vectors, threads=threads or os.cpu_count() or 1, stand_in=standin.load(folder), index=index)


def rank_once(folder: str, config: str) -> None:
    """Loads the sequential model and ranks for a batch of users: for whoever measures what memory serving it takes. `config`: JSON."""
    model, users, each = sequential(Path(folder), json.loads(config), 1), 64, 10
    rows = np.arange(users * each)
    days = (rows % each).astype(np.int32)
    given = Histories(np.arange(users + 1) * each, (rows % len(model.item_ids)).astype(np.int32), days, days * np.int64(86400), np.ones(len(rows), dtype=np.float32))
    model.recommend(given, each, each)
