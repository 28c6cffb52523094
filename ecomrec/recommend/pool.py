"""Where a catalogue is too large to score whole: for each user a pool of products that hold the best of all that lists may ask for, with their scores.

The index's `depth` times the candidates are looked for: what rules then take away from one user is made up from the rest. What is searched is
approximate (`ecomrec.models.nearest`), with a recall that was measured when the model was compressed; scores are exact.
"""

import numpy as np

from ecomrec.models import Histories, nearest
from ecomrec.models.topn import top
from ecomrec.recommend.candidates import Known, goes_with
from ecomrec.recommend.catalogue import Catalogue
from ecomrec.recommend.histories import Shard
from ecomrec.recommend.policy import Policy
from ecomrec.recommend.scores import NOTHING, Scores

SPARE = 2  # times the candidates that must be left of what was found before rules; else it is searched again among what they leave


def width(model, policy: Policy, catalogue: Catalogue) -> int:
    """About how many scores a user takes, for whoever decides how many users share a block."""
    return max(model.index.depth * policy.rules.candidates * (4 + len(policy.wanted)), len(catalogue.lenders), len(catalogue) - catalogue.known)


def pooled(model, block: Shard, given: Histories, vectors: np.ndarray, known: Known, policy: Policy, catalogue: Catalogue) -> Scores:
    """The pool of each user of a block; `given`, `vectors`: their histories as the model knows them, and what `model.vectors` says of those."""
    most, learned = policy.rules.candidates, catalogue.known
    stranger, fresh = np.diff(given.offsets) == 0, _fresh(model, given, vectors, policy.day, catalogue)
    whole = np.ones(len(catalogue), dtype=bool)
    parts = [nearest.padded(block.owned.offsets, block.owned.items)]
    if known.together is not None:
        parts.append(goes_with(block, known.together, policy.rules.candidates // 2))

    def find(rows: np.ndarray, mask: np.ndarray, count: int) -> np.ndarray:
        """The best of the items of `mask` for the users `rows`, int32 [rows, w]; becomes a part of everybody's."""
        best = _nearest(model, given.take(rows), vectors[rows], policy.day, mask[:learned], count)
        new = top(np.where(mask[learned:], fresh[rows], NOTHING), min(model.index.depth * count, fresh.shape[1]))[0]
        found = np.full((len(block), best.shape[1] + new.shape[1]), -1, dtype=np.int32)
        found[rows] = np.concatenate((best, np.where(new >= 0, new + learned, -1)), axis=1)
        parts.append(found)
        return found[rows]

    for segment in np.unique(known.segments):
        rows, shown = np.flatnonzero(known.segments == segment), policy.open_to(segment)
        best = find(rows, whole, most)[:, :model.index.depth * most]  # also what rules take away: the report counts it
        left = (shown[best] & (best >= 0)).sum(axis=1)
        if (few := rows[left < SPARE * most]).size:
            find(few, shown, most)
        for mask in policy.wanted:
            find(rows, mask & shown, most // 2)
    items, taken = nearest.merged(parts, len(catalogue))
    old = np.minimum(items, learned - 1)
    values = model.score_some(given, policy.day, old, vectors)
    values[stranger] = model.popularity[old[stranger]]
    if fresh.shape[1]:
        values = np.where(items >= learned, np.take_along_axis(fresh, np.maximum(items - learned, 0), axis=1), values)
    values[~taken] = NOTHING
    return Scores(values, len(catalogue), items)


def _nearest(model, given: Histories, vectors: np.ndarray, day: int, allowed: np.ndarray, count: int) -> np.ndarray:
    """`model.nearest`; for users without history what sells best."""
    if len(known := np.flatnonzero(np.diff(given.offsets))) == len(given):
        return model.nearest(given, day, count, vectors, None if allowed.all() else allowed)
    sold = top(np.where(allowed, model.popularity, NOTHING).astype(np.float32)[None, :], model.index.depth * count)[0]
    if not len(known):
        return np.broadcast_to(sold, (len(given), sold.shape[1]))
    best = _nearest(model, given.take(known), vectors[known], day, allowed, count)
    found = np.full((len(given), max(best.shape[1], sold.shape[1])), -1, dtype=np.int32)
    found[:, :sold.shape[1]] = sold
    found[known] = -1
    found[known, :best.shape[1]] = best
    return found


def _fresh(model, given: Histories, vectors: np.ndarray, day: int, catalogue: Catalogue) -> np.ndarray:
    """Scores of the products that are too new for the model, float32 [U, new], from those that each borrows from."""
    lenders = catalogue.lenders
    if not len(lenders):
        return np.zeros((len(given), 0), dtype=np.float32)
    scores = model.score_some(given, day, np.broadcast_to(lenders, (len(given), len(lenders))), vectors)
    scores[np.diff(given.offsets) == 0] = model.popularity[lenders]
    return np.asarray(scores @ catalogue.borrowed[lenders], dtype=np.float32)
