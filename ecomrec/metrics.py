"""Ranking metrics per user over the full universe. A wanted item that no model can rank still counts as missed.

NDCG: Järvelin & Kekäläinen 2002 with binary gain, discount 1/log2(rank+1), the ideal being min(k, wanted) hits at the top.
"""

import numpy as np


def wanted(user: np.ndarray, item: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct items per user: `(users [U] ascending, offsets int64 [U+1], items int32 [N])`."""
    pairs = np.unique(np.stack((user, item), axis=1).astype(np.int64), axis=0) if len(user) else np.zeros((0, 2), dtype=np.int64)
    users, counts = np.unique(pairs[:, 0], return_counts=True)
    return users, np.concatenate(([0], np.cumsum(counts))).astype(np.int64), pairs[:, 1].astype(np.int32)


def per_user(ranked: np.ndarray, offsets: np.ndarray, items: np.ndarray, k: int = 10) -> dict[str, np.ndarray]:
    """NDCG@k, Recall@k and MRR@k of each user, float64 [U].

    ranked: int [U, >=k], best first, -1 for an empty place. offsets, items: the wanted items of user u are
    items[offsets[u]:offsets[u+1]], distinct, at least one each.
    """
    ranked, sizes = ranked[:, :k].astype(np.int64), np.diff(offsets)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    width = int(max(ranked.max(initial=0), items.max(initial=0))) + 1
    keys = owner * width + items  # ascending when items are sorted within a user; isin does not need it
    found = np.isin(np.arange(len(sizes))[:, None] * width + ranked, keys) & (ranked >= 0)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(sizes, k) - 1]
    first = np.where(found.any(axis=1), 1 / (found.argmax(axis=1) + 1), 0.0)
    places = found.shape[1]
    return {f"NDCG@{k}": (found * discount[:places]).sum(axis=1) / ideal, f"Recall@{k}": found.sum(axis=1) / sizes, f"MRR@{k}": first}


def coverage(ranked: np.ndarray, universe: int, k: int = 10) -> float:
    """Share (0-1) of the universe that appears in at least one list."""
    shown = np.unique(ranked[:, :k])
    return float((shown >= 0).sum() / universe)
