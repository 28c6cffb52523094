"""The gates let through what is better and nothing else."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecomrec import gates
from ecomrec.database import connect

UNITS = 800


def folder_with(tmp_path, candidate, popularity, ease, servable=("popularity_7d", "ease_recency")):
    pq.write_table(pa.table({"unit": [f"u{n}" for n in range(len(candidate))], "candidate": candidate, "popularity_7d": popularity,
                             "ease_recency": ease}), tmp_path / "evaluation.parquet")
    for name in servable:
        (tmp_path / "baselines" / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def scores():
    return np.random.default_rng(1).uniform(0.1, 0.3, UNITS)


def test_a_clearly_better_candidate_passes(tmp_path, scores):
    decision = gates.decide("recommender", folder_with(tmp_path, scores + 0.02, scores - 0.05, scores), seed=1)
    assert decision["passed"] and decision["winner"] == "candidate"
    assert [verdict["verdict"] for verdict in decision["verdicts"]] == ["pass", "pass", "pass"]


def test_a_worse_candidate_fails_and_the_best_baseline_wins(tmp_path, scores):
    decision = gates.decide("recommender", folder_with(tmp_path, scores - 0.02, scores - 0.05, scores), seed=1)
    assert not decision["passed"] and decision["winner"] == "ease_recency"
    assert "proven worse than ease_recency" in decision["verdicts"][2]["sentence"]


def test_noise_is_inconclusive_and_does_not_pass(tmp_path, scores):
    noise = np.random.default_rng(2).normal(0, 0.05, UNITS)
    decision = gates.decide("recommender", folder_with(tmp_path, scores + noise - noise.mean(), scores - 0.05, scores), seed=1)
    assert decision["verdicts"][2]["verdict"] == "inconclusive" and decision["winner"] == "ease_recency"


def test_too_few_units_decide_nothing(tmp_path, scores):
    decision = gates.decide("recommender", folder_with(tmp_path, scores[:50] + 0.1, scores[:50], scores[:50]), seed=1)
    assert {verdict["verdict"] for verdict in decision["verdicts"]} == {"inconclusive"} and not decision["passed"]


def test_no_units_decide_nothing(tmp_path):
    decision = gates.decide("recommender", folder_with(tmp_path, [], [], []), seed=1)
    assert not decision["passed"]


def test_without_a_servable_baseline_nobody_wins(tmp_path, scores):
    assert gates.decide("recommender", folder_with(tmp_path, scores - 0.1, scores, scores, servable=()), seed=1)["winner"] is None


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(3)
    covered = 0
    for seed in range(60):
        _, low, high = gates.bootstrap(random.normal(0.5, 1.0, 200), np.ones(200), seed)
        covered += low <= 0.5 <= high
    assert covered >= 52  # 95 % of 60 is 57; below 52 has a probability under 1 %


def test_verdicts_are_recorded_once(shop, tmp_path, scores):
    decision = gates.decide("recommender", folder_with(tmp_path, scores, scores - 0.1, scores - 0.1), seed=1)
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        for _ in range(2):
            gates.record(connection, "recommender", "7", decision["verdicts"])
        cursor.execute("SELECT gate, verdict FROM analytics.model_gates WHERE model_version = '7' ORDER BY gate")
        assert cursor.fetchall() == [("beats_ease_recency", "pass"), ("beats_popularity_7d", "pass"), ("floor", "pass")]
