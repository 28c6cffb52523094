"""Ranking metrics against values computed by hand."""

import math

import numpy as np
import pytest

from ecomrec import metrics


def test_wanted_is_distinct_and_by_user():
    users, offsets, items = metrics.wanted(np.array([5, 2, 5, 5]), np.array([9, 1, 3, 9]))
    assert users.tolist() == [2, 5] and offsets.tolist() == [0, 1, 3] and items.tolist() == [1, 3, 9]


def test_values_by_hand():
    # User 0 wants {1, 4}: hits at ranks 1 and 3. User 1 wants {7, 8, 9}: none. User 2 wants {2}: rank 2.
    ranked = np.array([[1, 0, 4], [1, 2, 3], [0, 2, -1]])
    values = metrics.per_user(ranked, np.array([0, 2, 5, 6]), np.array([1, 4, 7, 8, 9, 2]), k=3)
    both = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert values["NDCG@3"] == pytest.approx([both, 0, 1 / math.log2(3)])
    assert values["Recall@3"] == pytest.approx([1, 0, 1])
    assert values["MRR@3"] == pytest.approx([1, 0, 0.5])


def test_the_ideal_never_asks_for_more_than_k_and_recall_counts_every_miss():
    values = metrics.per_user(np.array([[0, 1]]), np.array([0, 5]), np.array([0, 1, 2, 3, 400]), k=2)
    assert values["NDCG@2"] == pytest.approx([1]) and values["Recall@2"] == pytest.approx([2 / 5])


def test_an_empty_place_is_no_hit_for_the_next_user_up():
    # -1 of user 1 must not be read as the largest item of user 0.
    values = metrics.per_user(np.array([[3], [-1]]), np.array([0, 1, 2]), np.array([3, 0]), k=1)
    assert values["NDCG@1"].tolist() == [1, 0]


def test_coverage_ignores_empty_places():
    assert metrics.coverage(np.array([[0, 1], [1, -1]]), 4, k=2) == 0.5


def test_nobody_is_no_error():
    values = metrics.per_user(np.zeros((0, 10), dtype=int), np.array([0]), np.array([], dtype=int))
    assert all(len(column) == 0 for column in values.values())
