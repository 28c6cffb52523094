"""Why an item is on a list: the part of the user's history that it rests on.

A model says what each purchase adds to a score (`contributions`, see `ecomrec.models.Ranked`). For one that cannot, likeness of the item
vectors stands in, and only where it is great enough to convince a person.
"""

import numpy as np

from ecomrec.models import Histories
from ecomrec.recommend.catalogue import Catalogue
from ecomrec.recommend.histories import Owned, Shard
from ecomrec.recommend.lists import CHOSEN, DRAWN, FILLED, Lists

REASONS = ("bought_again", "goes_with", "popular", "new", "chosen")
AGAIN, GOES_WITH, POPULAR, NEW, SELECTED = range(len(REASONS))
LIKENESS = 0.45  # cosine below which "goes with" would not convince a person
CELLS = 8_000_000  # contributions held at once
DIM = 64         # numbers of an item's vector, about: what holds them takes most of the memory
LEAST = 0.05     # share of the history's whole contribution below which no single purchase is the reason


def reasons(model, lists: Lists, people: Shard, day: int, catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reason, int8 [U, L], the item it rests on, int32 [U, L] (-1: none), and its evidence, float32 [U, L]."""
    items = lists.items
    reason = np.full(items.shape, POPULAR, dtype=np.int8)
    because, evidence = np.full(items.shape, -1, dtype=np.int32), np.zeros(items.shape, dtype=np.float32)
    times = _times(items, people.owned, len(catalogue))
    again = times > 0
    found, share = strongest(model, np.where(again, -1, items), people, day, catalogue)
    goes = found >= 0
    reason[goes], because[goes], evidence[goes] = GOES_WITH, found[goes], share[goes]
    reason[again], because[again], evidence[again] = AGAIN, items[again], times[again]
    for how, code in ((DRAWN, NEW), (CHOSEN, SELECTED), (FILLED, POPULAR)):
        rows = lists.how == how
        reason[rows], because[rows], evidence[rows] = code, -1, 0
    if lists.propensities is not None:
        evidence[lists.how == DRAWN] = lists.propensities[lists.how == DRAWN]
    return reason, because, evidence


def strongest(model, items: np.ndarray, people: Shard, day: int, catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """For each listed item the item of the user's history that adds most to its score, int32 [U, L] (-1: none), and its share of the whole.

    Items that are -1 or new to the model get none.
    """
    because, share = np.full(items.shape, -1, dtype=np.int32), np.zeros(items.shape, dtype=np.float32)
    asked = (items >= 0) & (items < catalogue.known)
    sizes = np.where(asked.any(axis=1), np.diff(people.owned.offsets), 0)
    order = np.argsort(sizes, kind="stable")
    order, start, known = order[sizes[order] > 0], 0, people.known(catalogue.known)
    weight = max(DIM, 0 if catalogue.vectors is None else catalogue.vectors.shape[1]) / 8
    while start < len(order):  # users with histories of like length share a padded block
        stop = min(len(order), start + max(1, int(CELLS / weight / items.shape[1] / sizes[order[min(start + 50, len(order) - 1)]])))
        while stop > start + 1 and (stop - start) * sizes[order[stop - 1]] * items.shape[1] * weight > 2 * CELLS:
            stop = start + (stop - start) // 2
        rows, start = order[start:stop], stop
        column = np.arange(sizes[rows[-1]])
        owned = np.where(column < sizes[rows, None], people.owned.items[np.minimum(people.owned.offsets[rows, None] + column, len(people.owned.items) - 1)], -1)
        owned[owned >= catalogue.known] = -1
        adds = _contributions(model, known.take(rows), owned, np.where(asked[rows], items[rows], -1), day, catalogue)
        if adds is None:
            return because, share
        adds = np.maximum(adds, 0)
        best = adds.argmax(axis=2)
        worth = np.take_along_axis(adds, best[:, :, None], axis=2)[:, :, 0]
        part = worth / np.maximum(adds.sum(axis=2), 1e-12)
        good = asked[rows] & (part >= LEAST) & (worth > 0)
        because[rows] = np.where(good, np.take_along_axis(owned, best, axis=1), -1)
        share[rows] = np.where(good, part, 0)
    return because, share


def _contributions(model, given: Histories, owned: np.ndarray, items: np.ndarray, day: int, catalogue: Catalogue) -> np.ndarray | None:
    """What each of the items that these users own [u, n] adds to the scores of `items` [u, k], float32 [u, k, n]; None: nothing can say."""
    adds = model.contributions(given, owned, items, day)
    if adds is None and catalogue.vectors is not None:
        cosine = np.matmul(catalogue.vectors[np.maximum(items, 0)], catalogue.vectors[np.maximum(owned, 0)].transpose(0, 2, 1))
        adds = np.where((cosine >= LIKENESS) & (items >= 0)[:, :, None] & (owned >= 0)[:, None, :], cosine, 0)
    return adds


def _times(items: np.ndarray, owned: Owned, width: int) -> np.ndarray:
    """How often each user bought each item of their list, int [U, L]."""
    if not len(owned.items):
        return np.zeros(items.shape, dtype=np.int64)
    keys = owned.owners() * width + owned.items
    wanted = np.arange(len(items))[:, None] * width + items
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((keys[at] == wanted) & (items >= 0), owned.times[at], 0)
