"""What the models are made of: counts, rankings, baskets, EASE's closed form."""

import numpy as np
from scipy import sparse

from ecomrec.models import Histories, decayed_counts, ease, histories, top
from ecomrec.models.sequential import baskets, batches, pad


def one(items, days, weights=None) -> Histories:
    size = len(items)
    return Histories(np.array([0, size]), np.array(items, dtype=np.int32), np.array(days, dtype=np.int32), np.zeros(size, dtype=np.int64),
                     np.array(weights or [1] * size, dtype=np.float32))


def test_counts_halve_with_age():
    counts = decayed_counts(one([1, 1, 0], [0, 10, 20], [1, 1, 0.5]), 20, 10, 3).toarray()
    assert np.allclose(counts, [[0.5, 0.25 + 0.5, 0]])


def test_histories_leave_out_others_and_what_the_model_does_not_know():
    given = histories(np.array([1, 1, 2, 4]), np.array([0, 9, 1, 0]), np.arange(4), np.arange(4), np.ones(4, dtype=np.float32), np.array([1, 3, 4]), 5)
    assert given.offsets.tolist() == [0, 1, 1, 2] and given.items.tolist() == [0, 0] and given.days.tolist() == [0, 3]


def test_ties_go_to_the_smaller_index():
    ids, scores = top(np.array([[1, 3, 1, 3, 1, 0]], dtype=np.float32), 4)
    assert ids.tolist() == [[1, 3, 0, 2]] and scores.tolist() == [[3, 3, 1, 1]]


def test_baskets_are_days_with_distinct_items_and_the_newest_are_kept():
    given = one([4, 2, 4, 1, 3], [5, 5, 5, 6, 9])
    held = baskets(given.offsets, given.items, given.days, given.weights)
    assert held.users.tolist() == [0, 3] and held.days.tolist() == [5, 6, 9] and held.offsets.tolist() == [0, 2, 3, 4]
    assert held.items.tolist() == [2, 4, 1, 3] and held.weights.tolist() == [1, 2, 1, 1]
    newest = baskets(given.offsets, given.items, given.days, given.weights, 2)
    assert newest.users.tolist() == [0, 2] and newest.days.tolist() == [6, 9] and newest.items.tolist() == [1, 3]


def test_every_user_with_a_basket_is_in_exactly_one_batch():
    offsets = np.cumsum([0, *range(30)])
    days = np.concatenate([np.arange(size) for size in range(30)])
    held = baskets(offsets, np.zeros(len(days), dtype=np.int32), days.astype(np.int32), np.ones(len(days), dtype=np.float32))
    groups = batches(held, 64, np.random.default_rng(0))
    assert sorted(np.concatenate(groups).tolist()) == list(range(1, 30))
    assert all(pad(held, group)[3].size <= 64 for group in groups)


def test_ease_is_the_closed_form():
    rows = sparse.random(40, 9, 0.4, format="csr", random_state=1, dtype=np.float32)
    inverse = np.linalg.inv((rows.T @ rows).toarray().astype(float) + 2.0 * np.eye(9))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert np.allclose(ease.fit(ease.gram(rows), 2.0), expected, atol=1e-5)
