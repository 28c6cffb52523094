"""The inner loops of scoring that numpy needs many passes for, one pass each: compiled by numba when first called, then kept on disk.

All work user by user, so that what a user gets never depends on who shares the block, and let other threads run meanwhile.
"""

from functools import partial

import numba
import numpy as np

TILE = 1024  # columns of a product made together: what it reads of the matrix stays in the cache


def compiled(function, sums=("reassoc",)):
    """The function as machine code. Sums may be reordered, which the processor's vector units need; always in the same way, but for lines that
    say the same of two rows: `sums=()` keeps the order that is written."""
    options = {"nogil": True, "fastmath": {"contract", *sums}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written to: compiled anew in each process, a few seconds
        return numba.njit(**options)(function)


@partial(compiled, sums=())
def product(rows, wide, width):
    """rows [U, d] times the first `width` columns of wide [d, W], float32 [U, width]. A sum is always made in the same order, which BLAS does not
    do: there a user's last digits depend on how many others share the block, and of two equal items now the one and now the other comes first.
    """
    users, depth = rows.shape
    scores, spare = np.zeros((users, width), dtype=np.float32), np.zeros(TILE, dtype=np.float32)
    whole = depth - depth % 4
    for first in range(0, width, TILE):
        size = min(TILE, width - first)
        last = first + size
        for user in range(0, users, 2):  # two users and four rows of `wide` at a time: what is loaded is used twice, and all fits the registers
            other = min(user + 1, users - 1)
            one = scores[user, first:last]
            two = scores[other, first:last] if other > user else spare[:size]
            for k in range(0, whole, 4):
                a, b, c, d = rows[user, k], rows[user, k + 1], rows[user, k + 2], rows[user, k + 3]
                e, f, g, h = rows[other, k], rows[other, k + 1], rows[other, k + 2], rows[other, k + 3]
                wa, wb, wc, wd = wide[k, first:last], wide[k + 1, first:last], wide[k + 2, first:last], wide[k + 3, first:last]
                for at in range(size):
                    one[at] = one[at] + a * wa[at] + b * wb[at] + c * wc[at] + d * wd[at]
                    two[at] = two[at] + e * wa[at] + f * wb[at] + g * wc[at] + h * wd[at]
            for k in range(whole, depth):
                a, e, wa = rows[user, k], rows[other, k], wide[k, first:last]
                for at in range(size):
                    one[at] += a * wa[at]
                    two[at] += e * wa[at]
    return scores


@compiled
def add_spread(scores, indptr, indices, data, w_indptr, w_indices, w_data, amount):
    """scores [U, I] gain amount[u] * (l - mean(l)) / spread(l), l the user's row of a sparse matrix times sparse weights [I, I].

    All float32 but `amount`, float64 [U]; moments are over all items, zeros included.
    """
    users, width = scores.shape
    row = np.empty(width, dtype=np.float32)
    for user in range(users):
        row[:] = 0
        for at in range(indptr[user], indptr[user + 1]):
            share = data[at]
            for place in range(w_indptr[indices[at]], w_indptr[indices[at] + 1]):
                row[w_indices[place]] += share * w_data[place]
        total = square = 0.0
        for item in range(width):
            value = np.float64(row[item])
            total += value
            square += value * value
        mean = total / width
        factor = amount[user] / max(np.sqrt(max(square / width - mean * mean, 0.0)), 1e-12)
        slope, shift = np.float32(factor), np.float32(-factor * mean)
        for item in range(width):
            scores[user, item] += slope * row[item] + shift


@compiled
def product_of(rows, tall, items):
    """rows [U, d] times the rows of tall [I, d] that int32 `items` [U, W] names for each user, float32 [U, W]."""
    users, width = items.shape
    scores = np.empty((users, width), dtype=np.float32)
    for user in range(users):
        for at in range(width):
            total, item = np.float32(0), items[user, at]
            for k in range(rows.shape[1]):
                total += rows[user, k] * tall[item, k]
            scores[user, at] = total
    return scores


@numba.njit(inline="always")
def _row(user, indptr, indices, data, w_indptr, w_indices, w_data, row, held, touched):
    """The user's row of a sparse matrix times sparse weights, in `row` [I]; returns how many items it holds, and which, in `touched`. `held` [I]: for
    which user a place of `row` was written last."""
    count = 0
    for at in range(indptr[user], indptr[user + 1]):
        share = data[at]
        for place in range(w_indptr[indices[at]], w_indptr[indices[at] + 1]):
            item = w_indices[place]
            if held[item] != user:
                held[item], row[item], touched[count] = user, 0, item
                count += 1
            row[item] += share * w_data[place]
    return count


@compiled
def add_spread_of(scores, items, indptr, indices, data, w_indptr, w_indices, w_data, amount, size):
    """`add_spread` for scores [U, W] of the items that int32 `items` [U, W] names, of `size`; reads what is not 0 alone."""
    row, held, touched = np.zeros(size, dtype=np.float32), np.full(size, -1, dtype=np.int64), np.empty(size, dtype=np.int32)
    for user in range(len(scores)):
        total = square = 0.0
        for place in range(_row(user, indptr, indices, data, w_indptr, w_indices, w_data, row, held, touched)):
            value = np.float64(row[touched[place]])
            total += value
            square += value * value
        mean = total / size
        factor = amount[user] / max(np.sqrt(max(square / size - mean * mean, 0.0)), 1e-12)
        slope, shift = np.float32(factor), np.float32(-factor * mean)
        for at in range(scores.shape[1]):
            item = items[user, at]
            scores[user, at] += (slope * row[item] if held[item] == user else np.float32(0)) + shift


@compiled
def strongest(indptr, indices, data, w_indptr, w_indices, w_data, allowed, count):
    """The items of the `count` largest scores above 0 of each user's row of a sparse matrix times sparse weights [I, I], in no order, int32
    [U, count], -1 where there are no more; of those that bool `allowed` [I] lets pass."""
    users, size = len(indptr) - 1, len(allowed)
    found = np.full((users, count), -1, dtype=np.int32)
    row, held, touched = np.zeros(size, dtype=np.float32), np.full(size, -1, dtype=np.int64), np.empty(size, dtype=np.int32)
    values = np.empty(size, dtype=np.float32)
    for user in range(users):
        kept = 0
        for place in range(_row(user, indptr, indices, data, w_indptr, w_indices, w_data, row, held, touched)):
            item = touched[place]
            if allowed[item] and row[item] > 0:
                touched[kept], values[kept] = item, row[item]  # kept never passes place
                kept += 1
        least = np.float32(0)
        if kept > count:
            least = np.partition(values[:kept], kept - count)[kept - count]
        filled = 0
        for place in range(kept):
            if values[place] > least:
                found[user, filled] = touched[place]
                filled += 1
        for place in range(kept):
            if filled < count and values[place] == least:
                found[user, filled] = touched[place]
                filled += 1
    return found


@compiled
def lost_without(owned, share, items, w_indptr, w_indices, w_data, size):
    """What each score of a row of shares times sparse weights loses without each item of the row, float32 [U, k, n].

    owned int32 [U, n] and items int32 [U, k] are places among `size` items, -1 none; share float32 [U, n]. Without an item of share p and
    weight w a score l becomes (l - p w) / (1 - p): exact.
    """
    users, wide = owned.shape
    asked = items.shape[1]
    lost = np.zeros((users, asked, wide), dtype=np.float32)
    place = np.full(size, -1, dtype=np.int32)
    score = np.empty(asked, dtype=np.float32)
    for user in range(users):
        for at in range(asked):
            if items[user, at] >= 0:
                place[items[user, at]] = at
        score[:] = 0
        for column in range(wide):
            item, part = owned[user, column], share[user, column]
            if item >= 0 and part > 0:
                for entry in range(w_indptr[item], w_indptr[item + 1]):
                    at = place[w_indices[entry]]
                    if at >= 0:
                        lost[user, at, column] = w_data[entry]
                        score[at] += part * w_data[entry]
        for at in range(asked):
            if items[user, at] >= 0:
                place[items[user, at]] = -1
                for column in range(wide):
                    part = share[user, column]
                    if owned[user, column] < 0:
                        lost[user, at, column] = 0
                    elif part < 1:
                        lost[user, at, column] = part * (lost[user, at, column] - score[at]) / max(1 - part, np.float32(1e-6))
                    else:
                        lost[user, at, column] = score[at]
    return lost


@compiled
def losses(vectors, users, offsets, items, speeds, size, owned):
    """What averages of the user's positions lose without an item, float32 [U, n, J, d], and the averages themselves, [U, J, d].

    vectors float32 [I, d] of the items; user u has positions users[u]:users[u+1], oldest first, and position p the distinct items
    offsets[p]:offsets[p+1], whose mean vector it is; average j weights a position by speeds[j] ** (positions after it). owned int32 [U, n]: the
    items asked for, -1 none, each once; an item in several positions loses the sum of what it loses in each. See `ecomrec.models.standin`.
    """
    people, wide = owned.shape
    count, dim = len(speeds), vectors.shape[1]
    lost = np.zeros((people, wide, count, dim), dtype=np.float32)
    averages = np.zeros((people, count, dim), dtype=np.float32)
    column = np.full(size, -1, dtype=np.int32)
    older, whole = np.empty((count, dim), dtype=np.float32), np.empty((count, dim), dtype=np.float32)
    older_total, total = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
    mean = np.empty(dim, dtype=np.float32)
    for user in range(people):
        first, last = users[user], users[user + 1]
        if first == last:
            continue
        for at in range(wide):
            if owned[user, at] >= 0:
                column[owned[user, at]] = at
        whole[:], total[:] = 0, 0
        for position in range(first, last):
            _mean(vectors, items, offsets[position], offsets[position + 1], mean)
            for speed in range(count):  # Horner: each step back multiplies by the speed
                total[speed] = total[speed] * speeds[speed] + np.float32(1)
                for place in range(dim):
                    whole[speed, place] = whole[speed, place] * speeds[speed] + mean[place]
        for speed in range(count):
            for place in range(dim):
                averages[user, speed, place] = whole[speed, place] / total[speed]
        older[:], older_total[:] = 0, 0
        for position in range(first, last):
            back, held = last - 1 - position, offsets[position + 1] - offsets[position]
            _mean(vectors, items, offsets[position], offsets[position + 1], mean)
            for row in range(offsets[position], offsets[position + 1]):
                at = column[items[row]]
                if at < 0:
                    continue
                for speed in range(count):
                    weight = speeds[speed] ** np.float32(back)
                    if held > 1:  # the basket's mean moves
                        share = weight / total[speed] / np.float32(held - 1)
                        for place in range(dim):
                            lost[user, at, speed, place] += share * (vectors[items[row], place] - mean[place])
                    elif last - first > 1:  # the basket vanishes, and the older ones move up by a step
                        up = weight * (1 - speeds[speed])
                        left = max(total[speed] - weight + up * older_total[speed], np.float32(1e-6))
                        for place in range(dim):
                            rest = whole[speed, place] - weight * mean[place] + up * older[speed, place]
                            lost[user, at, speed, place] += averages[user, speed, place] - rest / left
                    else:
                        for place in range(dim):
                            lost[user, at, speed, place] += averages[user, speed, place]
            for speed in range(count):
                older_total[speed] = older_total[speed] * speeds[speed] + np.float32(1)
                for place in range(dim):
                    older[speed, place] = older[speed, place] * speeds[speed] + mean[place]
        for at in range(wide):
            if owned[user, at] >= 0:
                column[owned[user, at]] = -1
    return lost, averages


@numba.njit(inline="always")
def _mean(vectors, items, first, last, mean):
    """mean [d] becomes the mean vector of items[first:last]."""
    mean[:] = 0
    for row in range(first, last):
        for place in range(len(mean)):
            mean[place] += vectors[items[row], place]
    scale = np.float32(1) / np.float32(max(last - first, 1))
    for place in range(len(mean)):
        mean[place] *= scale


@compiled
def greedy(relevance, category, top_category, brand, diversity, shelf, lacking, calibration, kinds, codes, most, length):
    """Columns in the order of the list, int64 [U, length], -1 where nothing is left: each place takes the highest relevance - diversity *
    likeness + calibration * lacking (see `ecomrec.recommend.lists`), ties to the left.

    relevance float32 [U, P] (-inf: not to be had; overwritten), category, top_category, brand int32 [U, P] (brand -1: none), shelf int8 [U, P],
    lacking float32 [U, S] (overwritten). Of what kinds[i] [U, P] is True for, at most most[i] of the same codes[i] [U, P] are taken.
    """
    users, width = relevance.shape
    chosen = np.full((users, length), -1, dtype=np.int64)
    likeness, counts = np.empty(width, dtype=np.float32), np.empty((len(most), width), dtype=np.int32)
    for user in range(users):
        likeness[:], counts[:] = 0, 0
        for step in range(min(length, width)):
            best, highest = -1, np.float32(-np.inf)
            for at in range(width):
                value = relevance[user, at]
                if value > -np.inf:
                    value = value - diversity * likeness[at] + calibration * lacking[user, shelf[user, at]]
                    if value > highest:
                        best, highest = at, value
            if best < 0:
                break
            chosen[user, step] = best
            relevance[user, best] = -np.inf
            lacking[user, shelf[user, best]] -= np.float32(1)
            if diversity > 0:
                for at in range(width):
                    alike = np.float32(0)
                    if category[user, at] == category[user, best]:
                        alike += np.float32(0.5)
                    if top_category[user, at] == top_category[user, best]:
                        alike += np.float32(0.25)
                    if brand[user, at] == brand[user, best] and brand[user, at] >= 0:
                        alike += np.float32(0.25)
                    likeness[at] = max(likeness[at], alike)
            for kind in range(len(most)):
                if kinds[kind, user, best]:
                    for at in range(width):
                        if kinds[kind, user, at] and codes[kind, user, at] == codes[kind, user, best]:
                            counts[kind, at] += 1
                            if counts[kind, at] >= most[kind]:
                                relevance[user, at] = -np.inf
    return chosen


@compiled
def drop_known(items, scores, before, size):
    """In place: items int32 [U, w] that are in `before` int32 [U, v] as well become -1 with score -inf; all are places among `size`, -1 none."""
    last = np.full(size, -1, dtype=np.int64)
    for user in range(len(items)):
        for at in range(before.shape[1]):
            if before[user, at] >= 0:
                last[before[user, at]] = user
        for at in range(items.shape[1]):
            if items[user, at] >= 0 and last[items[user, at]] == user:
                items[user, at], scores[user, at] = -1, -np.inf


@compiled
def largest(values, border, ids, scores):
    """Fills ids int32 and scores float32 [U, n] with the n largest of each row of float32 values [U, I] that are at least border [U] and not
    -inf, highest first, ties to the smaller column."""
    users, width = values.shape
    n = ids.shape[1]
    for user in range(users):
        count, least = 0, border[user]
        for item in range(width):
            value = values[user, item]
            if value >= least and value > -np.inf and (count < n or value > scores[user, n - 1]):
                place = min(count, n - 1)
                while place > 0 and scores[user, place - 1] < value:
                    scores[user, place], ids[user, place] = scores[user, place - 1], ids[user, place - 1]
                    place -= 1
                scores[user, place], ids[user, place] = value, item
                count = min(count + 1, n)
