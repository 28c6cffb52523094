"""What a block's users think of the products they may be shown: of all of them, or where those are too many, of a pool for each user."""

from dataclasses import dataclass

import numpy as np

from ecomrec.models import Histories, nearest
from ecomrec.models.topn import pick, top

NOTHING = np.float32(-np.inf)


def score(model, histories: Histories, day: int, vectors: np.ndarray | None = None) -> np.ndarray:
    """Scores of all of the model's items, float32 [U, known], for the caller to write to; `vectors`: what `model.vectors` says of them.

    A user without history gets the model's popularity. A model without `score` is asked for its whole ranking.
    """
    if hasattr(model, "score"):
        values = np.require(model.score(histories, day) if vectors is None else model.score(histories, day, vectors), np.float32, ["WRITEABLE"])
        fresh = np.diff(histories.offsets) == 0
        if fresh.any():
            values[fresh] = model.popularity
        return values
    items, scores = model.recommend(histories, day, len(model.item_ids), False)
    values = np.empty(items.shape, dtype=np.float32)
    np.put_along_axis(values, items, scores, axis=1)
    return values


@dataclass(frozen=True)
class Scores:
    """`values` float32 [U, W], written to; -inf is out of the question. `pool`: the items that they are of, int32 [U, W], ascending, a place to spare
    naming the last item with -inf; None: W are the `items` of the catalogue."""

    values: np.ndarray
    items: int
    pool: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def best(self, mask: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """The best score of each of the users `rows` (all) among the items of `mask` bool [I]; -inf without any, [rows]."""
        if self.pool is None:
            columns = np.flatnonzero(mask)
            return (self.values[:, columns] if rows is None else self.values[np.ix_(rows, columns)]).max(axis=1, initial=NOTHING)
        rows = slice(None) if rows is None else rows
        return np.where(mask[self.pool[rows]], self.values[rows], NOTHING).max(axis=1, initial=NOTHING)

    def close(self, mask: np.ndarray, rows: np.ndarray) -> None:
        """Takes the items of `mask` bool [I] from the users `rows`."""
        if self.pool is None:
            self.values[np.ix_(rows, np.flatnonzero(mask))] = NOTHING
        else:
            self.values[rows] = np.where(mask[self.pool[rows]], NOTHING, self.values[rows])

    def add(self, amounts: np.ndarray) -> None:
        """Adds float32 `amounts` [I] to everybody's scores."""
        self.values[:] += amounts if self.pool is None else amounts[self.pool]

    def of(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """The scores of these pairs, [n]; of an item that is not in the pool -inf."""
        if self.pool is None:
            return self.values[user, item]
        at, there = nearest.places(self.pool, user, item, self.items)
        return np.where(there, self.values[user, np.where(there, at, 0)], NOTHING)

    def drop(self, user: np.ndarray, item: np.ndarray) -> None:
        """Takes these pairs away."""
        if self.pool is None:
            self.values[user, item] = NOTHING
        else:
            at, there = nearest.places(self.pool, user, item, self.items)
            self.values[user[there], at[there]] = NOTHING

    def top(self, count: int, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As `ecomrec.models.topn.top`, of the items of `mask` bool [I]."""
        if self.pool is None:
            if mask is None:
                return top(self.values, count)
            columns = np.flatnonzero(mask)
            found, worth = top(self.values[:, columns], count)
            return np.where(found >= 0, columns[found], -1).astype(np.int32), worth
        found, worth = top(self.values if mask is None else np.where(mask[self.pool], self.values, NOTHING), count)
        return pick(self.pool, found), worth
