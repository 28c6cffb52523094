"""From candidates to a list: boosts, diversity, calibration, caps, exploration, pins and the fallback, for all users of a block at once.

Diversity is MMR (Carbonell & Goldstein 1998): each place goes to the highest (1 - d) * relevance - d * likeness, relevance scaled
to 0-1 within the user's pool, likeness to the most similar item already taken (0.5 same category, 0.25 same first level, 0.25
same brand). Calibration adds how far the list still is from the user's own share of best-sellers and rarities (after Steck 2018).
"""

import zlib
from dataclasses import dataclass

import numpy as np

from ecomrec.models import Histories, kernels
from ecomrec.models.topn import pick, top
from ecomrec.recommend.candidates import NOTHING, Candidates
from ecomrec.recommend.catalogue import Catalogue
from ecomrec.recommend.policy import Policy
from ecomrec.recommend.rules import Context

POOL = 4  # candidates considered per place
SHELVES = 3  # best-sellers, the middle, rarities: a third of all purchases each
RANKED, CHOSEN, DRAWN, FILLED = range(4)  # how an item came to its place


@dataclass(frozen=True)
class People:
    """What lists need to know of the users of a block."""

    users: np.ndarray      # str [U]
    segments: np.ndarray   # str [U]
    tastes: np.ndarray     # float32 [U, SHELVES], shares of their purchases
    together: object       # sparse [U, I]: how strongly items go with the user's last basket; None when no context asks


@dataclass(frozen=True)
class Lists:
    """Lists of one context and scope. A place that could not be filled is -1 and the places after it too."""

    context: str
    scope: np.ndarray | None  # str [U], None when the context has no scopes
    items: np.ndarray         # int32 [U, L]
    scores: np.ndarray        # float32 [U, L], the model's
    how: np.ndarray           # int8 [U, L]
    propensities: np.ndarray | None  # float32 [U, L]


def shelves(popularity: np.ndarray) -> np.ndarray:
    """int8 [I]: 0 for the best-sellers that make up a third of all purchases, 1 for the next third, 2 for the rest."""
    order = np.argsort(-popularity, kind="stable")
    share = np.cumsum(popularity[order], dtype=np.float64)
    place = np.empty(len(popularity), dtype=np.int8)
    place[order] = np.minimum(np.searchsorted([1 / 3, 2 / 3], (share - popularity[order]) / max(share[-1], 1e-9), side="right"), SHELVES - 1)
    return place


def tastes(histories: Histories, shelf: np.ndarray) -> np.ndarray:
    """Each user's share of purchases by shelf, float32 [U, SHELVES], smoothed by one purchase of each."""
    user = np.repeat(np.arange(len(histories)), np.diff(histories.offsets))
    counts = np.bincount(user * SHELVES + shelf[histories.items], minlength=len(histories) * SHELVES).reshape(-1, SHELVES) + 1.0
    return (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)


def build(name: str, found: Candidates, people: People, policy: Policy, catalogue: Catalogue, shelf: np.ndarray, seed: int,
          moved: dict[str, np.ndarray]) -> list[Lists]:
    """The lists of context `name`: one entry, or one for each of the user's categories.

    `moved` gains, for each soft rule, which users' lists of the context home it touched, bool [U].
    """
    context = policy.rules.contexts[name]
    length = context.length or policy.length
    item = np.maximum(found.items, 0)
    scores = np.where(_considered(found, policy), found.scores, NOTHING)
    match context.source:
        case "bought":
            scores = np.where(found.own, scores, NOTHING)
        case "not_bought":
            scores = np.where(found.own, NOTHING, scores)
        case "last_basket":
            user = np.broadcast_to(np.arange(len(item))[:, None], item.shape)
            strength = np.asarray(people.together[user.ravel(), item.ravel()]).reshape(item.shape)
            scores = np.where((strength > 0) & (scores > NOTHING), _spread(found)[:, None] * np.log1p(strength).astype(np.float32) + scores, NOTHING)
    if name in policy.contexts:
        scores = np.where(policy.contexts[name][item], scores, NOTHING)
    raw = scores
    scores = _lifted(name, scores, item, found, people, policy)
    if context.source == "category":
        return _by_category(name, context, length, found, item, scores, catalogue)
    place, worth = top(scores, min(POOL * length, scores.shape[1]))
    pool = pick(item, place)
    chosen = select(pool, worth, length, context, people, policy, catalogue, shelf)
    items = pick(pool, chosen)
    column = np.take_along_axis(place, np.maximum(chosen, 0), axis=1)
    values = np.where(chosen >= 0, np.take_along_axis(found.scores, np.maximum(column, 0), axis=1), NOTHING)
    how = np.full(items.shape, RANKED, dtype=np.int8)
    propensities = None
    if context.explore:
        propensities = np.ones(items.shape, dtype=np.float32)
        _explore(name, context, items, values, how, propensities, found, raw, people, catalogue, seed)
    _pin(name, items, values, how, propensities, found, people, policy)
    if name == "home":
        _count(moved, items, raw, item, length, policy)
    return [Lists(name, None, items, values, how, propensities)]


def fill(lists: Lists, context: Context, closed: np.ndarray, people: People, policy: Policy, catalogue: Catalogue, popular: np.ndarray) -> None:
    """Fills lists shorter than the context's minimum from `popular` [Q], best first. `closed` [rows, Q]: what hard rules forbid these users."""
    rows = short(lists, context)
    need = np.minimum(context.minimum, lists.items.shape[1])
    items = lists.items[rows]
    bad = closed | (items[:, :, None] == popular[None, None, :]).any(axis=1)
    for segment in np.unique(people.segments[rows]):
        bad[people.segments[rows] == segment] |= ~policy.open_to(segment)[popular]
    if lists.context in policy.contexts:
        bad |= ~policy.contexts[lists.context][popular]
    order = np.argsort(bad, axis=1, kind="stable")[:, :need]
    good = ~np.take_along_axis(bad, order, axis=1)
    have = (items >= 0).sum(axis=1)
    for step in range(order.shape[1]):  # the step-th best popular item goes to the first free place
        at = have + step
        put = good[:, step] & (at < need)
        lists.items[rows[put], at[put]] = popular[order[put, step]]
        lists.scores[rows[put], at[put]] = 0
        lists.how[rows[put], at[put]] = FILLED


def short(lists: Lists, context: Context) -> np.ndarray:
    """Places of the users whose list is shorter than the context's minimum."""
    return np.flatnonzero((lists.items >= 0).sum(axis=1) < min(context.minimum, lists.items.shape[1]))


def select(pool: np.ndarray, worth: np.ndarray, length: int, context: Context, people: People, policy: Policy, catalogue: Catalogue,
           shelf: np.ndarray) -> np.ndarray:
    """Columns of `pool` [U, P] in the order of the list, int [U, length]; -1 where the pool has nothing more to give."""
    users, width = pool.shape
    caps = [(np.ones_like(pool, dtype=bool), getattr(catalogue, key), most) for key, most in (("category", context.per_category), ("brand", context.per_brand)) if most]
    caps += [(mask[np.maximum(pool, 0)] & _reaches(rule, people)[:, None], getattr(catalogue, rule.per), rule.at_most) for rule, mask in policy.caps]
    chosen = np.full((users, length), -1, dtype=np.int64)
    if not (context.diversity or context.calibration or caps):
        kept = min(width, length)
        chosen[:, :kept] = np.where(worth[:, :kept] > NOTHING, np.arange(kept), -1)
        return chosen
    item, there = np.maximum(pool, 0), worth > NOTHING
    low = np.where(there, worth, np.inf).min(axis=1, keepdims=True)
    spread = np.where(there[:, :1], worth[:, :1] - low, 1)
    relevance = np.where(there, (worth - np.where(there.any(axis=1, keepdims=True), low, 0)) / np.maximum(spread, 1e-9), NOTHING).astype(np.float32)
    relevance *= np.float32(1 - context.diversity)
    kinds = np.stack([mask for mask, _, _ in caps]) if caps else np.empty((0, 1, 1), dtype=bool)
    codes = np.stack([codes[item] for _, codes, _ in caps]).astype(np.int32) if caps else np.empty((0, 1, 1), dtype=np.int32)
    lacking = people.tastes * np.float32(length)
    return kernels.greedy(relevance, catalogue.category[item], catalogue.top_category[item], catalogue.brand[item], np.float32(context.diversity), shelf[item], lacking,
                          np.float32(context.calibration / length), kinds, codes, np.array([most for *_, most in caps], dtype=np.int64), length)


def _considered(found: Candidates, policy: Policy) -> np.ndarray:
    """bool [U, W]: all but the reserve. What is considered does not change when some of the others go out of stock."""
    keep = policy.rules.candidates - policy.rules.reserve
    there = found.items >= 0
    others = np.cumsum(there[:, :found.others], axis=1) <= keep
    own = np.cumsum(there[:, found.others:found.others + found.bought], axis=1) <= keep
    return there & np.concatenate((others, own, np.ones((len(there), there.shape[1] - found.others - found.bought), dtype=bool)), axis=1)


def _spread(found: Candidates) -> np.ndarray:
    """Standard deviation of each user's first 100 scores of items never bought, [U]: the unit of `strength`."""
    scores = found.scores[:, :min(found.others, 100)]
    there = scores > NOTHING
    count = np.maximum(there.sum(axis=1), 1)
    mean = np.where(there, scores, 0).sum(axis=1) / count
    return np.sqrt(np.where(there, (scores - mean[:, None]) ** 2, 0).sum(axis=1) / count).astype(np.float32)


def _reaches(rule, people: People) -> np.ndarray:
    """bool [U]: the users that a rule is for."""
    return np.isin(people.segments, rule.segments) if rule.segments else np.ones(len(people.users), dtype=bool)


def _lifted(name: str, scores: np.ndarray, item: np.ndarray, found: Candidates, people: People, policy: Policy) -> np.ndarray:
    for rule, mask in policy.lifts:
        if rule.contexts and name not in rule.contexts:
            continue
        unit = np.where(_reaches(rule, people), _spread(found), 0) * np.float32(rule.strength if rule.do == "boost" else -rule.strength)
        scores = scores + np.where(mask[item], unit[:, None], np.float32(0))
    return scores


def _by_category(name: str, context: Context, length: int, found: Candidates, item: np.ndarray, scores: np.ndarray, catalogue: Catalogue) -> list[Lists]:
    """A list for each of the user's `groups` best categories: those that their best candidates are of."""
    result, scores = [], scores.copy()
    category = catalogue.category[item]
    left = scores.copy()
    for _ in range(context.groups):
        # The category of the best candidate whose category has had no list yet.
        best = left.argmax(axis=1)
        rows = np.arange(len(item))
        real = left[rows, best] > NOTHING
        same = category == category[rows, best][:, None]
        place, _ = top(np.where(same & real[:, None], scores, NOTHING), length)
        items, values = pick(item, place).astype(np.int32), pick(found.scores, place, NOTHING)
        scope = np.where(real, catalogue.categories[category[rows, best]], "")
        result.append(Lists(name, scope, items, values, np.full(items.shape, RANKED, dtype=np.int8), None))
        left[same] = NOTHING
    return result


def _explore(name: str, context: Context, items, values, how, propensities, found: Candidates, raw, people: People, catalogue: Catalogue, seed: int) -> None:
    """Draws new products into evenly spread places, in place. Softmax over the user's scores; the same day and seed draw the same."""
    length = items.shape[1]
    draws = round(context.explore * length)
    item = np.maximum(found.items, 0)
    able = catalogue.fresh[item] & (raw > NOTHING)
    able &= ~(item[:, :, None] == items[:, None, :]).any(axis=2) if able.any() else True
    weights = np.where(able, np.exp((np.where(able, raw, 0) - np.where(able, raw, NOTHING).max(axis=1, keepdims=True, initial=-1e30))
                                    / np.maximum(_spread(found), 1e-6)[:, None]), 0.0)
    hashes = np.array([zlib.crc32(f"{seed}/{name}/{user}".encode()) for user in people.users.tolist()], dtype=np.uint64)
    rows = np.arange(len(items))
    for draw in range(draws):
        place = min(length - 1, (draw + 1) * length // draws - 1)
        total = weights.sum(axis=1)
        uniform = _uniform(hashes, draw)
        picked = np.minimum((np.cumsum(weights, axis=1) < (uniform * total)[:, None]).sum(axis=1), weights.shape[1] - 1)
        # Only where something can be drawn, the place is filled, and the draw is not of weight nought.
        real = (total > 0) & (items[:, place] >= 0) & (weights[rows, picked] > 0)
        propensities[real, place] = (weights[rows, picked] / np.maximum(total, 1e-30))[real]
        items[real, place], values[real, place], how[real, place] = item[rows, picked][real], found.scores[rows, picked][real], DRAWN
        weights[rows[real], picked[real]] = 0


def _uniform(hashes: np.ndarray, draw: int) -> np.ndarray:
    """Float64 [U] in (0, 1) from 64-bit hashes (splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = (hashes << np.uint64(8)) + np.uint64(draw + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53


def _pin(name: str, items, values, how, propensities, found: Candidates, people: People, policy: Policy) -> None:
    """Puts pinned items on their places, in place, for users who may be shown them; the others move down, the last one drops out."""
    for rule, item in sorted(policy.pins, key=lambda pin: pin[0].place):
        if rule.contexts and name not in rule.contexts:
            continue
        here = found.items == item
        rows = np.flatnonzero(here.any(axis=1) & _reaches(rule, people) & (items[:, 0] >= 0))
        if not len(rows):
            continue
        length = items.shape[1]
        at = np.minimum(rule.place - 1, (items[rows] >= 0).sum(axis=1))
        at = np.minimum(at, length - 1)
        # Ranks: everything before the place keeps its order, the pinned item comes there, the rest follows without it.
        own = items[rows] == item
        rank = np.arange(length)[None, :] + (np.arange(length)[None, :] >= at[:, None]) * 1.0
        rank = np.where(own, np.inf, rank)
        order = np.argsort(np.concatenate((rank, at[:, None].astype(float)), axis=1), axis=1, kind="stable")[:, :length]
        for array, value in ((items, item), (values, None), (how, CHOSEN), (propensities, 1.0)):
            if array is not None:
                extra = found.scores[rows, here[rows].argmax(axis=1)] if value is None else np.full(len(rows), value)
                array[rows] = np.take_along_axis(np.concatenate((array[rows], extra[:, None].astype(array.dtype)), axis=1), order, axis=1)


def _count(moved: dict[str, np.ndarray], items: np.ndarray, raw: np.ndarray, item: np.ndarray, length: int, policy: Policy) -> None:
    """Which lists the soft rules touched: a boosted or pinned item is there; a buried or capped one would be there by score alone, and is not."""
    on = np.maximum(items, 0)
    place, _ = top(raw, length)
    plain = pick(item, place)
    gone = (plain >= 0) & ~(plain[:, :, None] == items[:, None, :]).any(axis=2) if policy.caps or any(rule.do == "bury" for rule, _ in policy.lifts) else None
    for rule, mask in policy.lifts + policy.caps:
        moved[rule.name] = (mask[on] & (items >= 0)).any(axis=1) if rule.do == "boost" else (mask[np.maximum(plain, 0)] & gone).any(axis=1)
    for rule, pinned in policy.pins:
        moved[rule.name] = (items == pinned).any(axis=1)
