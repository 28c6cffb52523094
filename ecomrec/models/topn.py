"""Exact top N of many rows at once, without a Python loop over rows."""

import numpy as np

from ecomrec.models import kernels

GROUP = 64  # most columns folded into one maximum
LOW = np.int64(0xFFFFFFFF)
LEAST = np.iinfo(np.int64).min


def top(values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n largest of each row of float32 `values` [U, I]: `(int32 [U, n], float32 [U, n])`, highest first, ties to the smaller index.

    A place whose value is -inf is -1. Columns are folded into groups first: n groups have a maximum of at least the n-th
    largest maximum, so no smaller value is among the n largest, and few values are as large as that.
    """
    users, items = values.shape
    kept = min(n, items)
    ids, scores = np.full((users, n), -1, dtype=np.int32), np.full((users, n), -np.inf, dtype=np.float32)
    if not users or not items:
        return ids, scores
    group = min(GROUP, items // (2 * kept))
    if group < 2:
        columns = np.broadcast_to(np.arange(items, dtype=np.int64), values.shape)
        _fill(np.where(np.isneginf(values), LEAST, _keys(values, columns)), kept, ids, scores)
        return ids, scores
    groups = items // group
    maxima = values[:, :groups * group].reshape(users, group, groups).max(axis=1)
    kernels.largest(values, np.partition(maxima, groups - kept, axis=1)[:, groups - kept], ids, scores)
    return ids, scores


def pick(rows: np.ndarray, places: np.ndarray, nothing=-1) -> np.ndarray:
    """What stands at these places [U, n] of each of the rows [U, W]; `nothing` where a place is -1."""
    return np.where(places >= 0, np.take_along_axis(rows, np.maximum(places, 0), axis=1), nothing)


def _keys(values: np.ndarray, column: np.ndarray) -> np.ndarray:
    """A value and its column as one integer: order by value and ties by column are then one sort."""
    bits = (np.ascontiguousarray(values) + np.float32(0)).view(np.int32)  # + 0: -0.0 ties with 0.0
    return (np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64) << 32) | (LOW - column)


def _fill(keys: np.ndarray, kept: int, ids: np.ndarray, scores: np.ndarray) -> None:
    """The `kept` largest keys of each row as the first places of ids and scores."""
    if keys.shape[1] > 4 * kept:
        keys = np.partition(keys, keys.shape[1] - kept, axis=1)[:, keys.shape[1] - kept:]
    keys = np.sort(keys, axis=1)[:, ::-1][:, :kept]
    real = keys != LEAST
    high = (keys >> 32).astype(np.int32)
    ids[:, :kept] = np.where(real, LOW - (keys & LOW), -1)
    scores[:, :kept] = np.where(real, np.where(high < 0, high ^ np.int32(0x7FFFFFFF), high).view(np.float32), np.float32(-np.inf))
