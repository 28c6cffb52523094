"""What each user's lists are chosen from: the best items that they never bought, the best that they did, and what rules ask for.

Both parts are complete down to their last score, which is what makes a list built from them the list that the whole catalogue
would give. Rows of a block are handled at once.
"""

from dataclasses import dataclass

import numpy as np

from ecomrec.models import Histories, kernels
from ecomrec.recommend.histories import Shard
from ecomrec.recommend.policy import BOUGHT, SEEN, Policy, blocked, waiting
from ecomrec.recommend.scores import NOTHING, Scores


@dataclass(frozen=True)
class Candidates:
    """Columns: `others` best never bought, `bought` best of those bought, then extras; -1 with -inf where there is none."""

    items: np.ndarray   # int32 [U, W]
    scores: np.ndarray  # float32 [U, W]
    others: int
    bought: int

    @property
    def own(self) -> np.ndarray:
        """bool [W]: the columns of items that the user has bought. Extras are never among them: they are taken after both."""
        return (np.arange(self.items.shape[1]) >= self.others) & (np.arange(self.items.shape[1]) < self.others + self.bought)


def joined(parts: list[Candidates]) -> Candidates:
    """The candidates of consecutive blocks as one."""
    if len(parts) == 1:
        return parts[0]
    own = max(part.bought for part in parts)
    rest = max(part.items.shape[1] - part.others - part.bought for part in parts)

    def padded(array: np.ndarray, part: Candidates, empty) -> np.ndarray:
        middle = part.others + part.bought
        wide = np.full((len(array), part.others + own + rest), empty, dtype=array.dtype)
        wide[:, :middle] = array[:, :middle]
        wide[:, part.others + own:part.others + own + array.shape[1] - middle] = array[:, middle:]
        return wide

    return Candidates(np.concatenate([padded(part.items, part, -1) for part in parts]), np.concatenate([padded(part.scores, part, NOTHING) for part in parts]),
                      parts[0].others, own)


@dataclass(frozen=True)
class Known:
    """What rules need to know of the users of a block."""

    segments: np.ndarray            # str [U]
    seen: Histories | None = None   # what they saw, where a rule asks
    together: object = None         # sparse [I, I]: how strongly items are bought together

    def slice(self, first: int, last: int) -> "Known":
        return Known(self.segments[first:last], self.seen.users(first, last) if self.seen else None, self.together)

    def take(self, rows: np.ndarray) -> "Known":
        return Known(self.segments[rows], self.seen.take(rows) if self.seen else None, self.together)


def choose(scores: Scores, block: Shard, known: Known, policy: Policy) -> tuple[Candidates, dict[str, np.ndarray]]:
    """The candidates of a block from its scores, which are overwritten; and for each hard rule the best score that it took away, [U]."""
    size = policy.rules.candidates
    lost = close(scores, block, known, policy)
    user, item = block.owned.owners(), block.owned.items
    own_items, own_scores = _best_of_rows(user, item, scores.of(user, item), len(block), size)
    scores.drop(user, item)
    items, worth = scores.top(size)
    parts = [(items, worth), (own_items, own_scores)]
    for mask in policy.wanted:
        parts.append(_unless_there(*scores.top(min(size // 2, int(mask.sum())), mask), parts, scores.items))
    if known.together is not None:
        found = goes_with(block, known.together, size // 2)
        user, place = np.nonzero(found >= 0)
        worth = np.full(found.shape, NOTHING)
        worth[user, place] = scores.of(user, found[user, place])
        parts.append(_unless_there(np.where(worth > NOTHING, found, -1), worth, parts, scores.items))
    whole = Candidates(np.concatenate([part[0] for part in parts], axis=1), np.concatenate([part[1] for part in parts], axis=1),
                       items.shape[1], own_items.shape[1])
    return whole, lost


def close(scores: Scores, block: Shard, known: Known, policy: Policy) -> dict[str, np.ndarray]:
    """Puts -inf wherever a hard rule forbids; returns for each of them the best score that it took from each user, [U]."""
    lost = {}
    for name, gone in policy.hidden:
        lost[name] = scores.best(gone)
    for name, segments, gone in policy.segment_rules:
        rows = np.flatnonzero(np.isin(known.segments, list(segments)))
        lost[name] = np.full(len(block), NOTHING)
        if len(rows):
            lost[name][rows] = scores.best(gone, rows)
    scores.add(policy.forbidden)  # one pass over the block; picking out columns would take several
    for segment, mask in policy.segments.items():
        rows = np.flatnonzero(known.segments == segment)
        if len(rows):
            scores.close(~mask, rows)
    for name, waits, given in ((BOUGHT, policy.after_bought, block.histories), (SEEN, policy.after_seen, known.seen)):
        if given is not None and waits.any():
            user, item = waiting(policy, given, waits)
            lost[name] = np.full(len(block), NOTHING)
            np.maximum.at(lost[name], user, scores.of(user, item))
            scores.drop(user, item)
    for name, rows, shown in blocked(policy, block.histories):
        lost[name] = np.full(len(block), NOTHING)
        if len(rows):
            lost[name][rows] = scores.best(shown, rows)
            scores.close(shown, rows)
    return lost


def _best_of_rows(user: np.ndarray, item: np.ndarray, worth: np.ndarray, users: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The best `size` of each user's own pairs as padded arrays [users, w], best first, ties to the smaller item."""
    keep = worth > NOTHING
    user, item, worth = user[keep], item[keep], worth[keep]
    order = np.lexsort((item, -worth, user))
    user, item, worth = user[order], item[order], worth[order]
    counts = np.bincount(user, minlength=users)
    place = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    near = place < size
    width = int(min(counts.max(initial=0), size))
    items, scores = np.full((users, width), -1, dtype=np.int32), np.full((users, width), NOTHING)
    items[user[near], place[near]], scores[user[near], place[near]] = item[near], worth[near]
    return items, scores


def goes_with(block: Shard, together, size: int) -> np.ndarray:
    """The items most often bought with what the user bought last, int32 [U, up to size], -1 where there is none."""
    strength = last_basket(block.histories, together.shape[0]) @ together
    user = np.repeat(np.arange(len(block)), np.diff(strength.indptr))
    return _best_of_rows(user, strength.indices, strength.data.astype(np.float32), len(block), size)[0]


def last_basket(given: Histories, items: int):
    """What each user bought on the last day that they bought something, sparse 0/1 [U, items]."""
    from scipy import sparse

    sizes = np.diff(given.offsets)
    user = np.repeat(np.arange(len(given)), sizes)
    last = np.zeros(len(given), dtype=given.days.dtype)
    last[sizes > 0] = np.maximum.reduceat(given.days, given.offsets[:-1][sizes > 0]) if len(given.days) else 0
    rows = given.days == last[user]
    matrix = sparse.csr_matrix((np.ones(rows.sum(), dtype=np.float32), (user[rows], given.items[rows])), shape=(len(given), items))
    matrix.data[:] = 1
    return matrix


def _unless_there(items: np.ndarray, scores: np.ndarray, parts: list[tuple[np.ndarray, np.ndarray]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """`items` (places among `size`) without those that an earlier part has already."""
    items, scores = items.astype(np.int32), scores.copy()
    kernels.drop_known(items, scores, np.concatenate([part[0] for part in parts], axis=1), size)
    return items, scores
