"""What every recommender shares: the histories it is given and the exact ranking of its scores."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from ecomrec.models.topn import top

BLOCK = 4_000_000  # scores held at once, 16 MB of float32: they stay in the cache, and memory does not grow with users or items
FADED = 60.0        # halvings after which an event counts the same as older ones: 2^-60 is still a float32


@dataclass(frozen=True)
class Histories:
    """What each user bought of the items that the model knows, oldest first.

    User u has rows offsets[u]:offsets[u+1]; a user without rows is a new user.
    """

    offsets: np.ndarray  # int64 [U+1]
    items: np.ndarray    # int32 [N], index into the model's item_ids
    days: np.ndarray     # int32 [N], days since 1970-01-01
    times: np.ndarray    # int64 [N], seconds since 1970-01-01
    weights: np.ndarray  # float32 [N], 1 for a purchase

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def users(self, first: int, last: int) -> "Histories":
        """The users first … last-1."""
        rows = slice(int(self.offsets[first]), int(self.offsets[last]))
        return Histories(self.offsets[first:last + 1] - self.offsets[first], self.items[rows], self.days[rows], self.times[rows], self.weights[rows])

    def take(self, chosen: np.ndarray) -> "Histories":
        """The users at the places `chosen`."""
        sizes = np.diff(self.offsets)[chosen]
        offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        rows = np.repeat(self.offsets[chosen] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Histories(offsets, self.items[rows], self.days[rows], self.times[rows], self.weights[rows])

    def owners(self) -> np.ndarray:
        """User of each row, int64 [N]."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def steps_back(self, by_event: bool) -> np.ndarray:
        """How many steps each row lies before its user's newest one, int64 [N]; a step is an event, or a day with events."""
        if by_event:
            return np.repeat(self.offsets[1:], np.diff(self.offsets)) - 1 - np.arange(len(self.items))
        owner = self.owners()
        opens = np.zeros(len(owner), dtype=np.int64)
        opens[1:] = (np.diff(owner) == 0) & (np.diff(self.days) != 0)
        number = np.cumsum(opens)
        newest = number[np.maximum(self.offsets[1:] - 1, 0)] if len(number) else number
        return np.repeat(newest, np.diff(self.offsets)) - number


@dataclass(frozen=True)
class Recency:
    """How the past fades: by half each `half_life` days, and to the share `step` with each step back (1: not at all)."""

    half_life: float = np.inf
    step: float = 1.0
    by_event: bool = False  # a step is an event; else a day with events


def histories(user: np.ndarray, item: np.ndarray, day: np.ndarray, time: np.ndarray, weight: np.ndarray, users: np.ndarray, items: int) -> Histories:
    """Histories of `users` (ascending) from rows sorted by user and time; rows of other users or of items >= `items` are left out."""
    place = np.searchsorted(users, user)
    keep = (item < items) & (place < len(users))
    keep[keep] = users[place[keep]] == user[keep]
    counts = np.bincount(place[keep], minlength=len(users))
    return Histories(np.concatenate(([0], np.cumsum(counts))).astype(np.int64), item[keep], day[keep], time[keep], weight[keep])


def decayed_counts(given: Histories, day: int, recency: Recency | float, items: int) -> sparse.csr_matrix:
    """Float32 [U, items]: sum of weight * 2^(-age / half_life) * step^(steps back), age in days at `day`. A number is a half-life."""
    recency = recency if isinstance(recency, Recency) else Recency(recency)
    halvings = np.maximum(day - given.days, 0) / recency.half_life
    if recency.step < 1:
        halvings = halvings - given.steps_back(recency.by_event) * np.log2(recency.step)
    values = given.weights * np.exp2(-np.minimum(halvings, FADED)).astype(np.float32)
    # Copies: summing duplicates works in place and would reorder the caller's history.
    matrix = sparse.csr_matrix((values, given.items.copy(), given.offsets.copy()), shape=(len(given), items))
    matrix.sum_duplicates()
    return matrix


def rank(score: Callable[[Histories], np.ndarray], given: Histories, popularity: np.ndarray, k: int, exclude_bought: bool,
         threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The k best items of each user, `(int32 [U, k], float32 [U, k])`, from `score(block of users) -> float32 [u, items]`, which is the caller's no more.

    Ties go to the smaller item index. A new user gets the popularity ranking. A place that cannot be filled is -1 with score -inf.
    threads: blocks worked on at once (numpy lets the others run); matrix products then take one thread each.
    """
    items = len(popularity)
    ids, scores = np.full((len(given), k), -1, dtype=np.int32), np.full((len(given), k), -np.inf, dtype=np.float32)
    step = max(1, BLOCK // max(items, 1))

    def work(first: int) -> None:
        block = given.users(first, min(first + step, len(given)))
        values = np.require(score(block), np.float32, ["WRITEABLE"])  # what is excluded is overwritten
        sizes = np.diff(block.offsets)
        values[sizes == 0] = popularity
        if exclude_bought:
            bought = block.weights >= 1  # and not what was only looked at
            values[np.repeat(np.arange(len(block)), sizes)[bought], block.items[bought]] = -np.inf
        rows = slice(first, first + len(block))
        ids[rows], scores[rows] = top(values, k)

    blocks = range(0, len(given), step)
    if threads == 1 or len(blocks) == 1:
        for first in blocks:
            work(first)
    else:
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(work, blocks):
                pass  # raises what a block raised
    return ids, scores


class Recommender:
    """What a model need not have, with the answer of one that has not."""

    def contributions(self, given: Histories, owned: np.ndarray, items: np.ndarray, day: int) -> np.ndarray | None:
        """What the score of each of `items` [U, k] would lose without each of the items `owned` [U, n] in the history, float32 [U, k, n];
        -1 is none, and loses nothing. None from a model that cannot say."""
        return None

    def vectors(self, given: Histories) -> np.ndarray | None:
        """Numbers that stand for each user, float32 [U, d]; None from a model without any."""
        return None


class Ranked(Recommender):
    """A model that ranks by its own `score(histories, day)`, with its `popularity` for new users; `threads` blocks of users at once."""

    threads: int = 1

    def recommend(self, histories: Histories, day: int, k: int, exclude_bought: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """See `rank`. `day` is the day that recency is counted from."""
        return rank(lambda block: self.score(block, day), histories, self.popularity, k, exclude_bought, self.threads)
