"""Why an item is on a list: the part of the user's history that really adds most to its score.

A model that can say what each purchase adds has `contributions(histories, items int32 [U, k], day) -> float32 [N, k]`, one row per
row of the histories: what the score of the user's items would lose without that purchase. It is exact for a linear model.
Without it, likeness of the item vectors stands in, and only where it is great enough to convince a person.
"""

import numpy as np

from ecomrec.models import Histories
from ecomrec.recommend.candidates import pairs
from ecomrec.recommend.catalogue import Catalogue
from ecomrec.recommend.lists import CHOSEN, DRAWN, FILLED, Lists

REASONS = ("bought_again", "goes_with", "popular", "new", "chosen")
AGAIN, GOES_WITH, POPULAR, NEW, SELECTED = range(len(REASONS))
LIKENESS = 0.45  # cosine below which "goes with" would not convince a person
LEAST = 0.05     # share of the history's whole contribution below which no single purchase is the reason


def reasons(model, lists: Lists, histories: Histories, day: int, catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reason, int8 [U, L], the item it rests on, int32 [U, L] (-1: none), and its evidence, float32 [U, L]."""
    items = lists.items
    reason = np.full(items.shape, POPULAR, dtype=np.int8)
    because, evidence = np.full(items.shape, -1, dtype=np.int32), np.zeros(items.shape, dtype=np.float32)
    times = _times(items, histories, len(catalogue))
    found, share = strongest(model, items, histories, day, catalogue)
    goes = (found >= 0) & (times == 0)
    reason[goes], because[goes], evidence[goes] = GOES_WITH, found[goes], share[goes]
    again = times > 0
    reason[again], because[again], evidence[again] = AGAIN, items[again], times[again]
    for how, code in ((DRAWN, NEW), (CHOSEN, SELECTED), (FILLED, POPULAR)):
        rows = lists.how == how
        reason[rows], because[rows], evidence[rows] = code, -1, 0
    if lists.propensities is not None:
        evidence[lists.how == DRAWN] = lists.propensities[lists.how == DRAWN]
    return reason, because, evidence


def strongest(model, items: np.ndarray, histories: Histories, day: int, catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """For each listed item the item of the user's history that adds most to its score, int32 [U, L] (-1: none), and its share of the whole."""
    shape = items.shape
    nothing = np.full(shape, -1, dtype=np.int32), np.zeros(shape, dtype=np.float32)
    inside = np.where((items >= 0) & (items < catalogue.known), items, 0)
    if hasattr(model, "contributions") and len(histories.items):
        adds, row_items, offsets = _by_item(model.contributions(histories, inside, day), histories)
    elif catalogue.vectors is not None and len(histories.items):
        user, row_items = pairs(histories, len(catalogue))
        offsets = np.searchsorted(user, np.arange(len(histories) + 1))
        adds = np.einsum("nd,nkd->nk", catalogue.vectors[row_items], catalogue.vectors[inside[user]], optimize=True)
        adds[adds < LIKENESS] = 0
    else:
        return nothing
    adds = np.maximum(adds, 0)
    sizes = np.diff(offsets)
    some = np.flatnonzero(sizes)
    best, whole = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    best[some] = np.maximum.reduceat(adds, offsets[:-1][some], axis=0)
    whole[some] = np.add.reduceat(adds, offsets[:-1][some], axis=0)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    # The first row that reaches the maximum: rows in reverse, so that the first one is written last.
    row, column = np.nonzero((adds == best[owner]) & (adds > 0))
    because = nothing[0]
    because[owner[row][::-1], column[::-1]] = row_items[row][::-1]
    share = best / np.maximum(whole, 1e-12)
    weak = (share < LEAST) | (items < 0) | (items >= catalogue.known)
    because[weak] = -1
    return because, np.where(because >= 0, share, 0).astype(np.float32)


def _by_item(adds: np.ndarray, histories: Histories) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contributions summed over the purchases of the same item: [n, k], the items [n], and the users' offsets [U + 1]."""
    user = np.repeat(np.arange(len(histories)), np.diff(histories.offsets))
    order = np.lexsort((histories.items, user))
    user, item = user[order], histories.items[order]
    first = np.flatnonzero(np.concatenate(([True], (np.diff(user) != 0) | (np.diff(item) != 0))))
    return np.add.reduceat(adds[order], first, axis=0), item[first], np.searchsorted(user[first], np.arange(len(histories) + 1))


def _times(items: np.ndarray, histories: Histories, width: int) -> np.ndarray:
    """How often each user bought each item of their list, int [U, L]."""
    user = np.repeat(np.arange(len(histories)), np.diff(histories.offsets))
    keys, counts = np.unique(user * width + histories.items, return_counts=True)
    if not len(keys):
        return np.zeros(items.shape, dtype=np.int64)
    wanted = np.arange(len(items))[:, None] * width + items
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((keys[at] == wanted) & (items >= 0), counts[at], 0)
