"""What the models are made of: counts, rankings, baskets, EASE's closed form."""

import numpy as np
import pytest
from scipy import sparse

from ecomrec.models import (
    Histories,
    Recency,
    als,
    decayed_counts,
    ease,
    frequency,
    histories,
    itemitem,
    popularity,
    top,
    words,
)
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


def test_what_a_user_bought_long_ago_comes_before_what_everybody_buys():
    """Thirteen half-lives ago: what is left of it is far less than a thousandth."""
    model = frequency.Frequency(np.array(list("abcd")), 30.0, np.array([0, 9, 1, 0], dtype=np.float32))
    ids, _ = model.recommend(one([3, 0], [0, 5]), 400, 4)
    assert ids.tolist() == [[0, 3, 1, 2]]
    ids, _ = model.recommend(one([2, 1], [5, 5]), 400, 4)
    assert ids.tolist() == [[1, 2, 0, 3]], "of two bought alike, the one that more buy"
    ids, _ = model.recommend(one([1, 3], [380, 397]), 400, 4)
    assert ids.tolist() == [[3, 1, 2, 0]], "what was bought later, though everybody buys the other"


def test_what_was_only_looked_at_may_be_recommended_where_what_was_bought_is_not():
    model = popularity.Popularity(np.array(list("abc")), np.array([3, 2, 1], dtype=np.float32))
    ids, _ = model.recommend(one([0, 1], [0, 0], [1, 0.2]), 1, 2, exclude_bought=True)
    assert ids.tolist() == [[1, 2]]


def test_ease_is_the_closed_form():
    rows = sparse.random(40, 9, 0.4, format="csr", random_state=1, dtype=np.float32)
    inverse = np.linalg.inv((rows.T @ rows).toarray().astype(float) + 2.0 * np.eye(9))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert np.allclose(ease.fit(ease.gram(rows), 2.0), expected, atol=1e-5)


def test_sparse_ease_is_the_exact_one_where_the_neighbourhood_is_everything():
    rows = sparse.random(60, 8, 0.5, format="csr", random_state=2, dtype=np.float32)
    assert np.allclose(ease.fit_sparse(rows.T @ rows, 3.0, 7).toarray(), ease.fit(ease.gram(rows), 3.0), atol=1e-5)
    assert np.diff(ease.fit_sparse(rows.T @ rows, 3.0, 2).tocsc().indptr).max() == 2


def test_neighbours_are_the_nearest_and_never_the_item_itself():
    rows = sparse.csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 0]], dtype=np.float32))
    weights = itemitem.knn(rows, 1, 0.0).toarray()
    assert weights.argmax(axis=1).tolist() == [1, 0, 3, 2] and (np.diag(weights) == 0).all() and np.allclose(weights[0, 1], 1)
    assert itemitem.knn(rows, 1, 2.0).toarray()[0, 1] == 2 / 4


def test_pruning_keeps_what_is_largest_in_size():
    assert itemitem.prune(np.array([[0.1, -3, 2], [0, 0, 1]], dtype=np.float32), 1).toarray().tolist() == [[0, -3, 0], [0, 0, 1]]


def test_steps_back_are_events_or_days():
    given = Histories(np.array([0, 3, 3, 4]), np.array([5, 6, 7, 1]), np.array([1, 1, 4, 9]), np.zeros(4, dtype=np.int64), np.ones(4, dtype=np.float32))
    assert given.steps_back(True).tolist() == [2, 1, 0, 0] and given.steps_back(False).tolist() == [1, 1, 0, 0]
    row = decayed_counts(given, 9, Recency(step=0.5, by_event=True), 8).toarray()
    assert np.allclose(row[0], [0, 0, 0, 0, 0, 0.25, 0.5, 1]) and row[2, 1] == 1


def test_words_of_any_script_are_found_and_silence_is_an_empty_row():
    found = words.features(["red nail polish", "nail polish blue", "红色指甲油", "蓝色指甲油", ""])
    alike = (found @ found.T).toarray()
    assert alike[0, 1] > 0.3 and alike[2, 3] > 0.3 and alike[0, 2] == 0 and alike[4].sum() == 0
    assert words.features(["a", "b"]).nnz == 0


def test_the_words_place_an_item_that_nobody_bought():
    rows = sparse.csr_matrix(np.array([[1, 1, 0, 0]] * 5 + [[0, 0, 1, 0]] * 5, dtype=np.float32))
    described = words.features(["green tea", "tea pot", "bolt screw", "green tea pot"])
    weights = ease.fit(ease.gram(sparse.vstack((rows, described.T)).tocsr()), 1.0)
    assert weights[0, 3] > weights[2, 3] + 0.01 and weights[1, 3] > weights[2, 3]


def test_users_are_folded_in_as_implicit_does():
    from implicit.cpu.als import AlternatingLeastSquares

    counts = sparse.random(40, 30, 0.2, format="csr", dtype=np.float32, random_state=1)
    factors = als.fit(counts, 8, 3.0, 0.5, 5, seed=1, threads=1)
    theirs = AlternatingLeastSquares(8, regularization=0.5, alpha=3.0, num_threads=1)
    theirs.item_factors = factors
    own = als.Als(np.arange(30), factors, 3.0, 0.5, Recency(), np.ones(30, dtype=np.float32)).users(counts)
    assert own == pytest.approx(theirs.recalculate_user(np.arange(40), counts), abs=1e-4)
