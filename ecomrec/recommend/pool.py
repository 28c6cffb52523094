"""Where a catalogue is too large to score whole: for each user a pool of products that hold the best of all that lists may ask for, with their scores.

The index's `depth` times the candidates are looked for: what rules then take away from one user is made up from the rest. What is searched is
approximate (`ecomrec.models.nearest`), with a recall that was measured when the model was compressed; scores are exact.
"""

import numpy as np

from ecomrec.models import Histories, nearest
from ecomrec.models.topn import top
from ecomrec.recommend.candidates import Known, goes_with, wanted
from ecomrec.recommend.catalogue import Catalogue
from ecomrec.recommend.histories import Shard
from ecomrec.recommend.policy import Policy
from ecomrec.recommend.scores import NOTHING, Scores


def width(model, policy: Policy, catalogue: Catalogue) -> int:
    """About how many scores a user takes, for whoever decides how many users share a block."""
    return max(model.index.depth * policy.rules.candidates * (4 + len(wanted(policy, catalogue))), len(np.unique(catalogue.borrowed.indices)), len(catalogue) - catalogue.known)


def pooled(model, block: Shard, given: Histories, vectors: np.ndarray, known: Known, policy: Policy, catalogue: Catalogue) -> Scores:
    """The pool of each user of a block; `given`, `vectors`: their histories as the model knows them, and what `model.vectors` says of those."""
    most, learned = policy.rules.candidates, catalogue.known
    stranger, fresh = np.diff(given.offsets) == 0, _fresh(model, given, vectors, policy.day, catalogue)
    asked = [(np.ones(len(catalogue), dtype=bool), most), (policy.allowed, most), *((mask, most // 2) for mask in wanted(policy, catalogue))]
    parts = [nearest.padded(block.owned.offsets, block.owned.items)]
    if known.together is not None:
        parts.append(goes_with(block, known.together, policy.rules.candidates // 2))
    for segment in np.unique(known.segments):
        rows, shown = known.segments == segment, policy.open_to(segment)
        for number, (mask, count) in enumerate(asked):
            mask = mask & shown if number else mask  # the first is asked for what rules take away: the report counts it
            if number == 1 and mask.all():
                continue
            for who, find in ((rows & ~stranger, _nearest), (rows & stranger, _popular)):
                if who.any():
                    best = find(model, given.take(np.flatnonzero(who)), vectors[who], policy.day, mask[:learned], count)
                    new = top(np.where(mask[learned:], fresh[who], NOTHING), min(model.index.depth * count, fresh.shape[1]))[0]
                    best = np.concatenate((best, np.where(new >= 0, new + learned, -1)), axis=1)
                    found = np.full((len(block), best.shape[1]), -1, dtype=np.int32)
                    found[who] = best
                    parts.append(found)
    items, taken = nearest.merged(parts, len(catalogue))
    old = np.minimum(items, learned - 1)
    values = model.score_some(given, policy.day, old, vectors)
    values[stranger] = model.popularity[old[stranger]]
    if fresh.shape[1]:
        values = np.where(items >= learned, np.take_along_axis(fresh, np.maximum(items - learned, 0), axis=1), values)
    values[~taken] = NOTHING
    return Scores(values, len(catalogue), items)


def _nearest(model, given: Histories, vectors: np.ndarray, day: int, allowed: np.ndarray, count: int) -> np.ndarray:
    return model.nearest(given, day, count, vectors, None if allowed.all() else allowed)


def _popular(model, given: Histories, vectors: np.ndarray, day: int, allowed: np.ndarray, count: int) -> np.ndarray:
    """For users without history."""
    best = top(np.where(allowed, model.popularity, NOTHING).astype(np.float32)[None, :], model.index.depth * count)[0]
    return np.broadcast_to(best, (len(given), best.shape[1]))


def _fresh(model, given: Histories, vectors: np.ndarray, day: int, catalogue: Catalogue) -> np.ndarray:
    """Scores of the products that are too new for the model, float32 [U, new], from those that each borrows from."""
    lenders = np.unique(catalogue.borrowed.indices).astype(np.int32)
    if not len(lenders):
        return np.zeros((len(given), 0), dtype=np.float32)
    scores = model.score_some(given, day, np.broadcast_to(lenders, (len(given), len(lenders))), vectors)
    scores[np.diff(given.offsets) == 0] = model.popularity[lenders]
    return np.asarray(scores @ catalogue.borrowed[lenders], dtype=np.float32)

