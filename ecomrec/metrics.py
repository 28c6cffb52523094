"""Ranking metrics per user over the full universe. A wanted item that no model can rank still counts as missed.

NDCG: Järvelin & Kekäläinen 2002 with binary gain, discount 1/log2(rank+1), the ideal being min(k, wanted) hits at the top.
MAP: mean precision at the hits over min(k, wanted), as in RecTools and RecSys challenges (trec_eval divides by wanted).
"""

import numpy as np

from ecomrec.models import Histories


def wanted(user: np.ndarray, item: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct items per user: `(users [U] ascending, offsets int64 [U+1], items int32 [N])`."""
    if not len(user):
        return np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32)
    width = np.int64(item.max()) + 1
    keys = np.unique(user.astype(np.int64) * width + item)  # one key per pair: many times faster than unique rows
    users, counts = np.unique(keys // width, return_counts=True)
    return users, np.concatenate(([0], np.cumsum(counts))).astype(np.int64), (keys % width).astype(np.int32)


def hits(ranked: np.ndarray, offsets: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Whether each place of each list holds a wanted item, bool [U, k]. See `per_user`."""
    sizes = np.diff(offsets)
    width = int(max(ranked.max(initial=0), items.max(initial=0))) + 1
    keys = np.repeat(np.arange(len(sizes)), sizes) * width + items
    keys = keys if (np.diff(keys) >= 0).all() else np.sort(keys)
    asked = np.arange(len(sizes))[:, None] * width + ranked.astype(np.int64)
    place = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
    return (keys[place] == asked) & (ranked >= 0) if len(keys) else np.zeros(ranked.shape, dtype=bool)


def per_user(ranked: np.ndarray, offsets: np.ndarray, items: np.ndarray, k: int = 10) -> dict[str, np.ndarray]:
    """NDCG@k, Recall@k, MRR@k and MAP@k of each user, float64 [U].

    ranked: int [U, >=k], best first, -1 for an empty place. offsets, items: the wanted items of user u are
    items[offsets[u]:offsets[u+1]], distinct, at least one each.
    """
    sizes, found = np.diff(offsets), hits(ranked[:, :k], offsets, items)
    places = np.arange(1, k + 1)
    discount = 1 / np.log2(places + 1)
    ideal = np.cumsum(discount)[np.minimum(sizes, k) - 1]
    first = np.where(found.any(axis=1), 1 / (found.argmax(axis=1) + 1), 0.0) if found.shape[1] else np.zeros(len(found))
    width = found.shape[1]
    precision = (found * np.cumsum(found, axis=1) / places[:width]).sum(axis=1)
    return {f"NDCG@{k}": (found * discount[:width]).sum(axis=1) / ideal, f"Recall@{k}": found.sum(axis=1) / sizes, f"MRR@{k}": first,
            f"MAP@{k}": precision / np.minimum(sizes, k)}


def coverage(ranked: np.ndarray, universe: int, k: int = 10) -> float:
    """Share (0-1) of the universe that appears in at least one list."""
    shown = np.unique(ranked[:, :k])
    return float((shown >= 0).sum() / universe)


def gini(ranked: np.ndarray, universe: int, k: int = 10) -> float:
    """How unequally the universe is shown, 0 (all items equally often) to 1 (one item only); the Gini index of the exposures."""
    shown = ranked[:, :k]
    counts = np.sort(np.bincount(shown[shown >= 0], minlength=universe)).astype(np.float64)
    if not counts.sum():
        return 0.0
    return float(((2 * np.arange(1, universe + 1) - universe - 1) * counts).sum() / (universe * counts.sum()))


def novelty(ranked: np.ndarray, buyers: np.ndarray, users: int, k: int = 10) -> np.ndarray:
    """Mean self-information -log2(share of users who have the item) of each list, bits, float64 [U] (Vargas & Castells 2011).

    buyers: users who have each item, [I]; an item that nobody has counts as had by one.
    """
    bits = -np.log2(np.maximum(buyers, 1) / max(users, 1))
    return _mean(np.where(ranked[:, :k] >= 0, bits[np.maximum(ranked[:, :k], 0)], np.nan))


def popularity_lift(ranked: np.ndarray, given: Histories, buyers: np.ndarray, k: int = 10) -> float:
    """How much more bought the lists' items are than those of the users' own past, relative, over users with a past (the popularity
    lift of Abdollahpouri et al. 2019); 0 without any."""
    past, there = _past(given, buyers.astype(np.float64)), ranked[:, :k] >= 0
    shown = np.where(there, buyers[np.maximum(ranked[:, :k], 0)], 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    known = ~np.isnan(past) & there.any(axis=1)
    return float(shown[known].mean() / past[known].mean() - 1) if known.any() and past[known].mean() else 0.0


def price_gap(ranked: np.ndarray, given: Histories, prices: np.ndarray, k: int = 10) -> float:
    """Mean distance between the mean log price of a list and that of the user's past: 0.1 is a list about 10 % too dear or too cheap.

    prices: float [I], NaN or not above 0 where unknown. 0 when nothing has a price.
    """
    logs = np.log(np.where(np.nan_to_num(prices) > 0, prices, np.nan))
    values = np.where(ranked[:, :k] >= 0, logs[np.maximum(ranked[:, :k], 0)], np.nan)
    past, shown = _past(given, logs), _mean(values)
    known = ~np.isnan(past) & ~np.isnan(values).all(axis=1)
    return float(np.abs(past - shown)[known].mean()) if known.any() else 0.0


def _past(given: Histories, values: np.ndarray) -> np.ndarray:
    """Mean value of the items in each user's history, float64 [U]; NaN without any."""
    owner, value = given.owners(), values[given.items]
    known = ~np.isnan(value)
    counts = np.bincount(owner[known], minlength=len(given))
    with np.errstate(invalid="ignore"):
        return np.where(counts > 0, np.bincount(owner[known], weights=value[known], minlength=len(given)) / np.maximum(counts, 1), np.nan)


def diversity(ranked: np.ndarray, vectors: np.ndarray, k: int = 10, block: int = 4096) -> np.ndarray:
    """Mean 1 - cosine over the pairs of items in each list, float64 [U]: intra-list diversity (Ziegler et al. 2005). 0 below two items.

    vectors: float [I, d] of length 1.
    """
    result = np.zeros(len(ranked))
    for first in range(0, len(ranked), block):
        shown = ranked[first:first + block, :k]
        real = (shown >= 0)[:, :, None]
        total = (vectors[np.maximum(shown, 0)] * real).astype(np.float64)
        count, own = real.sum(axis=(1, 2)), (total ** 2).sum(axis=(1, 2))
        pairs = count * (count - 1)
        # |sum of vectors|^2 holds each pair twice and each vector with itself once.
        cosines = ((total.sum(axis=1) ** 2).sum(axis=1) - own) / np.maximum(pairs, 1)
        result[first:first + block] = np.where(pairs > 0, 1 - cosines, 0.0)
    return result


def parity(found: np.ndarray, expected: np.ndarray) -> float:
    """How far scores lie from what they should be, float [rows, columns] both: the median row's distance (L2) over the spread of its expected scores around their mean; 0: the same."""
    spread = np.linalg.norm(expected - expected.mean(axis=1, keepdims=True), axis=1)
    return float(np.median(np.linalg.norm(found - expected, axis=1) / np.maximum(spread, 1e-9)))


def _mean(values: np.ndarray) -> np.ndarray:
    counts = (~np.isnan(values)).sum(axis=1)
    return np.nansum(values, axis=1) / np.maximum(counts, 1)
