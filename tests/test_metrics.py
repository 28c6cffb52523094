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


@pytest.mark.parametrize("seed", range(5))
def test_random_cases_agree_with_an_independent_library(seed):
    """trec_eval through ir-measures. Its MAP divides by all that is wanted, ours by what fits, so the wanted fit in these cases."""
    ir_measures = pytest.importorskip("ir_measures")
    random, k, universe = np.random.default_rng(seed), int(np.random.default_rng(seed).integers(5, 20)), 60
    ranked = np.stack([random.permutation(universe)[:k] for _ in range(50)])
    user, item = random.integers(0, 50, 400), random.integers(0, universe, 400)
    kept = np.concatenate([np.flatnonzero(user == u)[:5] for u in range(50)])
    users, offsets, items = metrics.wanted(user[kept], item[kept])
    values = metrics.per_user(ranked[users], offsets, items, k)
    judged = [ir_measures.Qrel(f"{row:03}", str(i), 1) for row in range(len(users)) for i in items[offsets[row]:offsets[row + 1]]]
    listed = [ir_measures.ScoredDoc(f"{row:03}", str(i), float(k - place)) for row, u in enumerate(users) for place, i in enumerate(ranked[u])]
    names = {f"NDCG@{k}": ir_measures.nDCG @ k, f"Recall@{k}": ir_measures.R @ k, f"MRR@{k}": ir_measures.RR @ k, f"MAP@{k}": ir_measures.AP @ k}
    for ours, theirs in names.items():
        expected = {found.query_id: found.value for found in ir_measures.iter_calc([theirs], judged, listed)}
        assert values[ours] == pytest.approx([expected[f"{row:03}"] for row in range(len(users))], abs=1e-6), ours


def test_gini_is_nothing_when_all_are_shown_alike_and_all_but_one_when_one_is():
    assert metrics.gini(np.array([[0, 1], [2, 3]]), 4) == pytest.approx(0)
    assert metrics.gini(np.array([[2], [2], [2]]), 4) == pytest.approx(3 / 4)


def test_novelty_is_bits_and_skips_empty_places():
    assert metrics.novelty(np.array([[0, 1], [1, -1]]), np.array([8, 2, 0]), 8).tolist() == [1.0, 2.0]


def test_diversity_is_the_mean_over_pairs():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(9, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ranked = np.array([[0, 3, 5], [1, 2, -1], [4, -1, -1]])
    by_hand = [1 - np.mean([vectors[a] @ vectors[b] for a, b in ((0, 3), (0, 5), (3, 5))]), 1 - vectors[1] @ vectors[2], 0]
    assert metrics.diversity(ranked, vectors) == pytest.approx(by_hand)


def test_a_million_users_are_measured_in_seconds():
    import time

    random = np.random.default_rng(0)
    ranked, wanted = random.integers(0, 50_000, (1_000_000, 10), dtype=np.int32), random.integers(0, 50_000, 1_000_000, dtype=np.int32)
    started = time.process_time()
    values = metrics.per_user(ranked, np.arange(1_000_001), wanted)
    assert len(values["NDCG@10"]) == 1_000_000
    assert time.process_time() - started < 30  # about 3 s; generous, as machines and their neighbours differ
