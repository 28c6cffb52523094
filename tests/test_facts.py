"""What a candidate is asked beside quality: whole and fresh days, cost, the same answer always; and its canaries and card."""

import json
import shutil
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecomrec import artifact, canary, card, champions, dataset, facts, gates, heldout
from ecomrec.database import connect
from ecomrec.errors import AuditFailed, EcomrecError
from ecomrec.models import loading, popularity
from ecomrec.recommend import why
from tests.test_evaluation import ease_of, judge, past, sealed  # noqa: F401 - fixtures of the same small shop
from tests.test_recommender import ITEMS, LAST, USERS, data, run, settings, small  # noqa: F401


@pytest.fixture
def candidate(run, tmp_path):  # noqa: F811
    shutil.copytree(run["folder"], tmp_path / "candidate")
    return tmp_path / "candidate"


def test_facts_are_found_out_and_judged(shop, data, candidate, judge):  # noqa: F811
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        day = artifact.read_manifest(candidate)["day"]
        cursor.execute("INSERT INTO ops.loads (kind, day, state, files, rows_read, rows_loaded, rows_rejected, seconds) "
                       "SELECT 'events', %s::date - n, 'loaded', 1, 1, 1, 0, 1 FROM generate_series(5, 14) n WHERE n <> 9", (day,))
    found = facts.measure(shop, "recommender", data, candidate)
    assert (found["days"], found["stale_days"], found["missing_share"]) == (9, 5, 0.1)
    assert found["per_second"] > 10 and 0 < found["p95_ms"] < 1000 and found["repeatable"] >= 0.9 and found["megabytes"] > 0
    decision, verdicts = judge(candidate)
    assert verdicts["limit: days of events"]["refuses"] and verdicts["limit: newest day"]["refuses"] and not verdicts["limit: missing days"]["refuses"]
    assert "is 9; at least 14 is asked" in verdicts["limit: days of events"]["sentence"] and decision["winner"] != "candidate"


class Odd:
    """A model that is `slow`, or answers otherwise each time."""

    def __init__(self, model, slow: float = 0, random: bool = False):
        self.model, self.slow, self.random, self.item_ids = model, slow, np.random.default_rng(1) if random else None, model.item_ids

    def recommend(self, given, day, k, exclude=False):
        time.sleep(self.slow)
        ranked, scores = self.model.recommend(given, day, k, exclude)
        return (self.random.permuted(np.tile(np.arange(ITEMS, dtype=np.int32), (len(ranked), 1)), axis=1)[:, :k] if self.random is not None else ranked), scores


@pytest.mark.parametrize(("how", "gate"), [({"slow": 0.6}, "latency"), ({"random": True}, "same answer")])
def test_a_slow_or_moody_candidate_is_refused(shop, data, candidate, judge, monkeypatch, how, gate):  # noqa: F811
    load = loading.load
    with monkeypatch.context() as patch:
        patch.setattr(facts, "SINGLES", 3)
        patch.setattr(facts.loading, "load", lambda *given: Odd(load(*given), **how))
        facts.measure(shop, "recommender", data, candidate)
    _, verdicts = judge(candidate)
    assert verdicts[f"limit: {gate}"]["refuses"]


def test_a_candidate_that_learned_from_the_test_days_gives_itself_away_by_the_decoys(shop, data, judge, past, tmp_path):  # noqa: F811
    """The leak is real: the same model, fitted on all rows of the data set. It is refused by the decoys, whatever its figures are."""
    loaded, given = past
    everything = heldout.before(loaded, dataset.TEST + 1, np.arange(len(loaded.user_ids)))
    found = {}
    for name, rows in (("honest", given), ("leaked", everything)):
        folder = ease_of(loaded, rows, tmp_path / name)
        judge(folder)
        facts.measure(shop, "recommender", data, folder)
        found[name] = {verdict["gate"]: verdict for verdict in gates.decide("recommender", folder, 1)["verdicts"]}["limit: no foresight"]
    assert found["leaked"]["refuses"] and found["leaked"]["value"] > 0.1, found["leaked"]
    assert not found["honest"]["refuses"] and "test days" in found["honest"]["sentence"]


def test_decoys_are_on_test_days_alone_and_judge_nobody_else(data):  # noqa: F811
    loaded = dataset.load(data)
    planted = loaded.user >= loaded.meta["users"]
    assert planted.sum() == dataset.GROUPS * dataset.TWINS * 2 * dataset.SIDE and (loaded.part[planted] == dataset.TEST).all()
    assert heldout.held_out(loaded, dataset.TEST)["users"].max() < loaded.meta["users"] == USERS
    shown = heldout.decoys(loaded)
    assert len(shown["histories"]) == dataset.GROUPS and (np.diff(shown["offsets"]) == dataset.SIDE).all()
    hidden, known = shown["items"].reshape(-1, dataset.SIDE), shown["histories"].items.reshape(-1, dataset.SIDE)
    assert not (hidden[:, :, None] == known[:, None, :]).any() and hidden.max() < ITEMS


def test_a_candidate_that_has_seen_the_future_is_too_good_to_be_true(shop, data, judge, past, tmp_path):  # noqa: F811
    """Its figures as they would be with the test days in its training: nearly everything right, where the baselines get a fifth."""
    folder = ease_of(*past, tmp_path / "seer")
    judge(folder)
    facts.measure(shop, "recommender", data, folder)
    table = pq.read_table(folder / "evaluation.parquet")
    for name, value in (("ease_recency", 0.2), ("popularity_7d", 0.2), ("candidate", 0.95)):
        table = table.set_column(table.column_names.index(name), name, pa.array(np.full(len(table), value)))
    pq.write_table(table, folder / "evaluation.parquet")
    verdicts = {verdict["gate"]: verdict for verdict in gates.decide("recommender", folder, 1)["verdicts"]}
    assert verdicts["limit: too good to be true"]["refuses"] and verdicts["beats_ease_recency"]["verdict"] == "pass"


def test_canaries_of_a_good_model_sing_the_same_in_a_fresh_process(shop, data, candidate, past, tmp_path):  # noqa: F811
    looked = canary.look(shop, "recommender", data, candidate, ease_of(*past, tmp_path / "champion"))
    assert looked["canaries"] > 50 and looked["same"] == 1.0 and looked["overlap"] > 0.1 and looked["empty"] == 0


def test_a_model_that_leans_on_this_process_or_mixes_ids_up_fails_before_its_canaries(shop, data, candidate, past, tmp_path, monkeypatch):  # noqa: F811
    loaded, _ = past
    names = loaded.item_ids
    worst = sealed(tmp_path / "strange", "popularity", lambda place: popularity.save(place, popularity.Popularity(np.array([f"x{n}" for n in range(ITEMS)]), np.arange(ITEMS, dtype=np.float32))))
    with pytest.raises(AuditFailed, match="canaries get nothing"):
        canary.look(shop, "recommender", data, worst, ease_of(*past, tmp_path / "champion"))
    count = len(canary.answers(shop, "recommender", data, candidate))
    with monkeypatch.context() as patch:
        patch.setattr(canary, "answers", lambda *given: [[str(names[0])]] * count)
        with pytest.raises(AuditFailed, match="the same answer in a fresh process"):
            canary.look(shop, "recommender", data, candidate, None)
    (candidate / "config.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(canary, "answers", lambda *given: [[str(names[0])]] * count)
        with pytest.raises(AuditFailed, match="a fresh process cannot serve"):
            canary.look(shop, "recommender", data, candidate, None)


def test_the_card_says_what_it_is_for_and_how_good_it_is(candidate, judge):  # noqa: F811
    decision, _ = judge(candidate)
    text = card.markdown("recommender", "run-1", candidate, decision)
    assert "**For**: Ranks" in text and "| candidate |" in text and "| beats_ease_recency |" in text and json.dumps(decision["metric"])[1:-1] in text
    assert "<table>" in card.html(text) and "<script" not in card.html("<script>")


def test_one_score_can_be_stepped_through(shop, data, run):  # noqa: F811
    """Its parts add up, its place is that of the ranking, and what it rests on is what the user bought."""
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE core.events_all PARTITION OF core.events DEFAULT")
        for number, (item, day) in enumerate((("i00", 2), ("i00", 9), ("i03", 5))):
            cursor.execute("INSERT INTO core.events (event_day, event_id, event_time, user_id, event_type, item_id) VALUES (%s::date - %s, %s, %s::date - %s, 'ann', 'purchase', %s)",
                           (LAST, day, f"e{number}", LAST, day, item))
    champions.promote(shop, {"family": "recommender", "version": "1", "kind": "sequential", "uri": str(run["folder"])}, "the first", "test")
    found = why.why(shop, "ann", "i00", LAST.isoformat())
    assert found["purchases"] == 3 and found["rank"] <= 5 and sum(found["parts"].values()) == pytest.approx(found["score"], abs=1e-4)
    assert {row["item_id"]: row["bought"] for row in found["rests_on"]} == {"i00": 2, "i03": 1}
    assert found["rests_on"][0]["item_id"] == "i00" and found["rests_on"][0]["adds"] > 0, "a repeated purchase speaks for itself"
    nobody = why.why(shop, "nobody", "i00", LAST.isoformat())
    assert nobody["purchases"] == 0 and nobody["rests_on"] == []
    with pytest.raises(EcomrecError, match="none of the 40 items"):
        why.why(shop, "ann", "nothing", LAST.isoformat())
