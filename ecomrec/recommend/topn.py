"""Exact top N of many rows at once, without a Python loop over rows."""

import numpy as np

GROUP = 8  # columns folded into one maximum; measured fastest of 8, 16 and 32 at 50,000 columns and N = 200
LOW = np.int64(0xFFFFFFFF)


def top(values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n largest of each row of float32 `values` [U, I]: `(int32 [U, n], float32 [U, n])`, highest first, ties to the smaller index.

    A place whose value is -inf is -1. Columns are folded into groups first: the n largest items lie within the n groups with
    the largest maxima, so only those groups are ranked. Rows where groups tie at the border are ranked whole.
    """
    users, items = values.shape
    kept = min(n, items)
    groups = items // GROUP
    ids, scores = np.full((users, n), -1, dtype=np.int32), np.full((users, n), -np.inf, dtype=np.float32)
    if groups <= 2 * kept:
        _rank(values, None, kept, ids, scores)
        return ids, scores
    folded = values[:, :groups * GROUP].reshape(users, GROUP, groups).max(axis=1)
    order = np.argpartition(folded, groups - kept, axis=1)[:, groups - kept:]
    border = np.take_along_axis(folded, order[:, :1], axis=1)  # the smallest of the chosen maxima
    tied = (folded >= border).sum(axis=1) > kept
    rest = np.broadcast_to(np.arange(groups * GROUP, items), (users, items - groups * GROUP))
    columns = (order[:, None, :] + (np.arange(GROUP) * groups)[None, :, None]).reshape(users, -1)
    columns = np.concatenate((columns, rest), axis=1)
    _rank(np.take_along_axis(values, columns, axis=1), columns, kept, ids, scores)
    if tied.any():
        whole_ids, whole_scores = ids[tied], scores[tied]
        _rank(values[tied], None, kept, whole_ids, whole_scores)
        ids[tied], scores[tied] = whole_ids, whole_scores
    return ids, scores


def _rank(values: np.ndarray, columns: np.ndarray | None, kept: int, ids: np.ndarray, scores: np.ndarray) -> None:
    """Fills the first `kept` places of ids and scores. A value and its column make one integer, so order and ties are one sort."""
    bits = (np.ascontiguousarray(values) + np.float32(0)).view(np.int32)  # + 0: -0.0 ties with 0.0
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    column = np.arange(values.shape[1]) if columns is None else columns
    keys = (ordered << 32) | (LOW - column)
    if keys.shape[1] > kept:
        keys.partition(keys.shape[1] - kept, axis=1)
        keys = keys[:, keys.shape[1] - kept:]
    keys = np.sort(keys, axis=1)[:, ::-1]
    ids[:, :kept] = LOW - (keys & LOW)
    high = (keys >> 32).astype(np.int32)
    scores[:, :kept] = np.where(high < 0, high ^ np.int32(0x7FFFFFFF), high).view(np.float32)
    ids[:, :kept][np.isneginf(scores[:, :kept])] = -1
