"""The gates let through what is better and nothing else."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecomrec import bootstrap, gates
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
    assert not decision["passed"] and decision["winner"] is None, "a champion that nobody was asked about stays"


def test_without_a_servable_baseline_nobody_wins(tmp_path, scores):
    assert gates.decide("recommender", folder_with(tmp_path, scores - 0.1, scores, scores, servable=()), seed=1)["winner"] is None


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(3)
    covered = 0
    for seed in range(60):
        low, high = bootstrap.interval(bootstrap.resample({"x": random.normal(0.5, 1.0, 200)}, np.ones(200), seed).draws["x"])
        covered += low <= 0.5 <= high
    assert covered >= 52  # 95 % of 60 is 57; below 52 has a probability under 1 %


def judged(tmp_path, seed=1, **columns):
    pq.write_table(pa.table({"unit": [str(n) for n in range(len(columns["candidate"]))], **columns}), tmp_path / "evaluation.parquet")
    (tmp_path / "baselines" / "ease_recency").mkdir(parents=True, exist_ok=True)
    decision = gates.decide("recommender", tmp_path, seed)
    return decision, {verdict["gate"]: verdict for verdict in decision["verdicts"]}


def test_worse_than_the_champion_is_refused_and_no_worse_baseline_takes_its_place(tmp_path, scores):
    decision, found = judged(tmp_path, candidate=scores * 0.9, popularity_7d=scores * 0.5, ease_recency=scores * 0.8, champion=scores)
    assert found["not_worse_than_champion"]["verdict"] == "fail" and "less is allowed" in found["not_worse_than_champion"]["sentence"]
    assert decision["winner"] is None


def test_good_on_average_but_broken_for_a_slice_is_refused(tmp_path, scores):
    inside = np.where(np.arange(UNITS) < 80, scores, np.nan)
    decision, found = judged(tmp_path, candidate=scores * 1.1, popularity_7d=scores * 0.5, ease_recency=scores * 0.8, champion=scores,
                             **{"new users|candidate": inside * 0.1, "new users|champion": inside,
                                "heavy users|candidate": inside[::-1], "heavy users|champion": inside[::-1]})
    assert found["slice: new users"]["refuses"] and not found["slice: heavy users"]["refuses"] and decision["winner"] != "candidate"


def test_a_slice_is_judged_by_its_own_numbers_whatever_its_name(tmp_path, scores):
    decision, found = judged(tmp_path, candidate=scores * 1.1, popularity_7d=scores * 0.5, ease_recency=scores * 0.8, champion=scores,
                             **{"segment DE|candidate": scores, "segment DE|champion": scores, "segment DE|b2b|candidate": scores * 0.1, "segment DE|b2b|champion": scores})
    assert found["slice: segment DE|b2b"]["sentence"].startswith("Segment DE|b2b: ") and found["slice: segment DE|b2b"]["refuses"] and not found["slice: segment DE"]["refuses"] and len(found) == len(decision["verdicts"])


def test_a_shelf_may_lose_more_than_a_group_of_people(tmp_path, scores):
    """A fifth less: refused where it is people, not where it is products; half less is refused there too."""
    columns = {"candidate": scores * 1.1, "popularity_7d": scores * 0.5, "ease_recency": scores * 0.8, "champion": scores}
    for name, kept, refused in (("light users", 0.8, True), ("segment by-products", 0.8, True), ("products of Dairy", 0.8, False), ("products of Dairy", 0.5, True)):
        _, found = judged(tmp_path, **columns, **{f"{name}|candidate": scores * kept, f"{name}|champion": scores})
        assert found[f"slice: {name}"]["refuses"] == refused


def test_a_small_slice_is_inconclusive_and_refuses_nothing(tmp_path, scores):
    few = np.where(np.arange(UNITS) < 20, scores, np.nan)
    decision, found = judged(tmp_path, candidate=scores * 1.1, popularity_7d=scores * 0.5, ease_recency=scores * 0.8, champion=scores,
                             **{"new users|candidate": few * 0.1, "new users|champion": few})
    assert found["slice: new users"]["verdict"] == "inconclusive" and decision["winner"] == "candidate"


def test_a_model_that_is_lost_without_a_history_is_refused(tmp_path, scores):
    decision, found = judged(tmp_path, candidate=scores * 1.1, popularity_7d=scores * 0.5, ease_recency=scores * 0.8, **{"robust: no history|candidate": scores * 0.01})
    assert found["robust: no history"]["refuses"] and decision["winner"] == "ease_recency"


def test_the_same_model_with_other_noise_is_rarely_refused(tmp_path):
    random, refused = np.random.default_rng(4), 0
    for seed in range(60):
        base = random.beta(1, 4, 2400)
        columns = {name: base + random.normal(0, 0.05, 2400) for name in ("candidate", "champion")}
        slices = {f"s{n}|{name}": np.where(np.arange(2400) % 10 == n, values, np.nan) for n in range(10) for name, values in columns.items()}
        decision, _ = judged(tmp_path, seed, popularity_7d=base * 0.3, ease_recency=base * 0.9, **columns, **slices)
        refused += not decision["passed"]
    assert refused <= 6  # 5 % of 60 is 3; more than 6 has a probability under 4 %


def test_the_report_says_the_same_as_the_verdicts(tmp_path, scores):
    decision, _ = judged(tmp_path, candidate=scores, popularity_7d=scores * 0.5, ease_recency=scores)
    text = gates.report("recommender/7", decision["verdicts"])
    assert "Refused by beats_ease_recency." in text and all(verdict["sentence"] in text for verdict in decision["verdicts"])


def test_verdicts_are_recorded_once(shop, tmp_path, scores):
    decision = gates.decide("recommender", folder_with(tmp_path, scores, scores - 0.1, scores - 0.1), seed=1)
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        for _ in range(2):
            gates.record(connection, "recommender", "7", decision["verdicts"])
        cursor.execute("SELECT gate, verdict FROM analytics.model_gates WHERE model_version = '7' ORDER BY gate")
        assert cursor.fetchall() == [("beats_ease_recency", "pass"), ("beats_popularity_7d", "pass"), ("floor", "pass")]


def test_every_kind_of_verdict_can_be_recorded(shop, tmp_path, scores):
    decision, found = judged(tmp_path, candidate=scores * 1.1, popularity_7d=scores * 0.5, ease_recency=scores * 0.8, champion=scores,
                             **{"heavy users|candidate": scores, "heavy users|champion": scores, "robust: no history|candidate": scores})
    assert {type(value) for verdict in found.values() for value in verdict.values()} <= {str, float, bool}
    with connect(shop.shop_dsn) as connection:
        gates.record(connection, "recommender", "8", decision["verdicts"])
