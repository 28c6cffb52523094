"""Compiled loops against the plain definition of what they compute."""

from itertools import pairwise

import numpy as np
from scipy import sparse

from ecomrec.models import kernels, standin
from ecomrec.models.sequential import baskets
from ecomrec.models.topn import top


def test_top_n_is_a_stable_sort():
    random = np.random.default_rng(1)
    values = random.integers(-40, 40, (30, 5000)).astype(np.float32)  # many ties
    values[random.random(values.shape) < 0.3] = -np.inf
    values[3, 20:] = -np.inf
    values[4] = -np.inf
    values[5] = 1.0
    ids, scores = top(values, 25)
    for row in range(len(values)):
        order = np.argsort(-values[row], kind="stable")[:25]
        there = np.isfinite(values[row, order])
        assert ids[row].tolist() == np.where(there, order, -1).tolist()
        assert scores[row].tolist() == np.where(there, values[row, order], -np.inf).tolist()


def test_a_product_is_right_and_the_same_whoever_shares_the_block():
    random = np.random.default_rng(9)
    for depth, width in ((67, 3001), (4, 7), (3, 1024), (8, 2049)):
        rows, wide = (random.normal(size=shape).astype(np.float32) for shape in ((41, depth), (depth, width + 5)))
        whole = kernels.product(rows, wide, width)
        np.testing.assert_allclose(whole, rows.astype(float) @ wide[:, :width].astype(float), atol=1e-4)
        for chosen in (np.arange(1), np.arange(7, 8), np.arange(3, 40), random.choice(41, 11, replace=False)):
            assert (kernels.product(rows[chosen], wide, width) == whole[chosen]).all()
    assert kernels.product(rows[:0], wide, width).shape == (0, width)


def test_an_added_part_has_the_spread_that_was_asked():
    random = np.random.default_rng(2)
    rows, weights = (sparse.random(*shape, density=0.1, random_state=3, dtype=np.float32, format="csr") for shape in ((6, 50), (50, 50)))
    scores, amount = random.normal(size=(6, 50)).astype(np.float32), np.array([0, 1, 2, 0.5, 1, 3.0])
    product = (rows @ weights).toarray()
    wanted = scores + amount[:, None] * (product - product.mean(axis=1, keepdims=True)) / np.maximum(product.std(axis=1, keepdims=True), 1e-12)
    kernels.add_spread(scores, rows.indptr, rows.indices, rows.data, weights.indptr, weights.indices, weights.data, amount)
    assert np.allclose(scores, wanted, atol=1e-5)


def test_without_an_item_the_rest_of_the_row_shares_the_whole():
    random = np.random.default_rng(4)
    weights = sparse.random(20, 20, density=0.5, random_state=5, dtype=np.float32, format="csr")
    owned, items = np.array([[2, 5, 9, -1], [7, -1, -1, -1]], dtype=np.int32), np.array([[1, 3, -1], [0, 7, 19]], dtype=np.int32)
    share = np.where(owned >= 0, random.random(owned.shape), 0).astype(np.float32)
    share /= share.sum(axis=1, keepdims=True)
    lost, dense = kernels.lost_without(owned, share, items, weights.indptr, weights.indices, weights.data, 20), weights.toarray()
    for user, at, column in np.ndindex(2, 3, 4):
        if items[user, at] < 0 or owned[user, column] < 0:
            assert lost[user, at, column] == 0
            continue
        have = owned[user] >= 0
        score = float((share[user, have] * dense[owned[user, have], items[user, at]]).sum())
        rest = have & (np.arange(4) != column)
        left = float((share[user, rest] * dense[owned[user, rest], items[user, at]]).sum() / share[user, rest].sum()) if rest.any() else 0.0
        assert np.isclose(lost[user, at, column], score - left, atol=1e-5)


def test_averages_lose_what_they_lose_when_the_item_never_was():
    random = np.random.default_rng(6)
    table = random.normal(size=(12, 5)).astype(np.float32)
    offsets = np.array([0, 7, 8, 8])
    items = np.array([1, 2, 3, 1, 4, 5, 6, 9], dtype=np.int32)
    days = np.array([1, 1, 4, 5, 5, 8, 9, 3], dtype=np.int32)  # 1 is in two baskets; 3, 5 and 6 are alone in theirs

    def averages(keep: np.ndarray) -> np.ndarray:
        starts = np.concatenate(([0], np.cumsum([keep[first:last].sum() for first, last in pairwise(offsets)])))
        return standin.averages(table, baskets(starts, items[keep], days[keep], np.ones(keep.sum(), dtype=np.float32)))

    owned = np.array([[1, 2, 3, 4, 5, 6], [9, -1, -1, -1, -1, -1], [-1] * 6], dtype=np.int32)
    everything = np.ones(8, dtype=bool)
    given = baskets(offsets, items, days, np.ones(8, dtype=np.float32))
    lost, whole = kernels.losses(table, given.users, given.offsets, given.items, np.float32(standin.SPEEDS), len(table), owned)
    assert np.allclose(whole, averages(everything), atol=1e-6)
    for item in (2, 3, 4, 5, 6):
        column = owned[0].tolist().index(item)
        assert np.allclose(lost[0, column], (whole - averages(items != item))[0], atol=1e-5)
    assert np.allclose(lost[1, 0], whole[1]) and not lost[2].any() and not lost[1, 1:].any()
    one, other = everything.copy(), everything.copy()
    one[0], other[3] = False, False
    assert np.allclose(lost[0, 0], (2 * whole - averages(one) - averages(other))[0], atol=1e-5)  # in two baskets: the sum of what it loses in each


def test_a_greedy_list_keeps_to_its_caps_and_spreads():
    relevance = np.array([[1.0, 0.9, 0.8, 0.2, -np.inf]], dtype=np.float32)
    category = np.array([[1, 1, 1, 2, 3]], dtype=np.int32)
    codes, kinds = category[None], np.ones((1, 1, 5), dtype=bool)

    def chosen(diversity: float, most: list[int]) -> list[int]:
        kind = slice(0, len(most))
        return kernels.greedy(relevance.copy(), category, category, np.full_like(category, -1), np.float32(diversity), np.zeros((1, 5), dtype=np.int8),
                              np.zeros((1, 3), dtype=np.float32), np.float32(0), kinds[kind], codes[kind], np.array(most, dtype=np.int64), 4)[0].tolist()

    assert chosen(0, []) == [0, 1, 2, 3]
    assert chosen(0, [2]) == [0, 1, 3, -1]
    assert chosen(1, []) == [0, 3, 1, 2]
