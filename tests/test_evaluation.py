"""What is measured beside the mean, on real models of a small shop; and bad candidates, which the gates refuse."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecomrec import artifact, dataset, evaluation, gates, heldout
from ecomrec.models import Recency, decayed_counts, ease, itemitem, loading, popularity
from tests.test_recommender import ITEMS, USERS, data, run, settings, small  # noqa: F401 - fixtures of the same small shop


@pytest.fixture
def judge(settings, data, run, tmp_path):  # noqa: F811
    """Judges the sealed model in a folder, as train_models would: beside the shop's real baselines and, if given, a champion."""

    def decide(candidate, champion=None):
        loaded = dataset.load(data)
        held = heldout.held_out(loaded, dataset.TEST)
        columns, lists = {"unit": loaded.user_ids[held["users"]].tolist()}, {}
        if not (candidate / "baselines").exists():
            shutil.copytree(run["folder"] / "baselines", candidate / "baselines")
        for name, place in (("candidate", candidate), ("popularity_7d", candidate / "baselines/popularity_7d"), ("ease_recency", candidate / "baselines/ease_recency")):
            lists[name] = evaluation.recommend(loading.load(place, 1), loaded.item_ids, held["histories"], held["day"], False)
            columns[name] = evaluation._quality(lists[name], held["offsets"], held["items"])
        np.savez(candidate / heldout.LISTS, **lists)
        pq.write_table(pa.table(columns), candidate / "evaluation.parquet")
        evaluation.extend(settings, "recommender", data, candidate, champion, lambda _: None)
        decision = gates.decide("recommender", candidate, 1)
        return decision, {verdict["gate"]: verdict for verdict in decision["verdicts"]}

    return decide


def sealed(folder, kind, save):
    folder.mkdir()
    save(folder)
    np.save(folder / "item_vectors.npy", np.eye(ITEMS, dtype=np.float16))
    artifact.write_manifest(folder, kind=kind)
    return folder


def item_item(folder, names, weights, sold):
    return sealed(folder, "itemitem", lambda place: itemitem.save(place, itemitem.ItemItem(names, weights, Recency(30.0), sold)))


def ease_of(loaded, given, folder, items=None):
    counts = decayed_counts(given, loaded.test_from - 1, 90.0, ITEMS)
    sold = np.bincount(given.items, minlength=ITEMS).astype(np.float32)
    names = loaded.item_ids if items is None else loaded.item_ids[items]
    weights = ease.fit(ease.gram(counts if items is None else counts[:, items]), 10.0)
    return item_item(folder, names, weights, sold if items is None else sold[items])


@pytest.fixture
def past(data):  # noqa: F811
    loaded = dataset.load(data)
    return loaded, heldout.before(loaded, dataset.VALID, np.arange(USERS))


def test_the_champion_slices_and_spoilt_inputs_are_columns_of_the_same_units(judge, past, tmp_path):
    loaded, given = past
    decision, found = judge(ease_of(loaded, given, tmp_path / "candidate"), ease_of(loaded, given, tmp_path / "champion"))
    table = pq.read_table(tmp_path / "candidate" / "evaluation.parquet")
    assert {"champion", "head products|champion", "tail products|candidate", "robust: no history|candidate"} <= set(table.column_names)
    assert table["champion"].to_numpy() == pytest.approx(table["candidate"].to_numpy(), abs=1e-6), "the same model measures the same"
    assert found["not_worse_than_champion"]["verdict"] == "pass" and found["not_worse_than_champion"]["value"] == pytest.approx(0, abs=1e-6)
    assert {"slice: heavy users", "slice: head products", "robust: shuffled history"} <= set(found) and "champion" in decision["means"]


def test_the_champion_is_judged_with_what_sells_now_as_it_is_served(judge, past, tmp_path):
    """Its own numbers say the reverse of what sold in the week before the test part."""
    loaded, given = past
    sold = heldout.popular(loaded, dataset.TEST, 7)
    for name, days in (("now", 7), ("old", 0)):
        old = tmp_path / name
        old.mkdir()
        popularity.save(old, popularity.Popularity(loaded.item_ids, sold.max() - sold))
        artifact.write_manifest(old, kind="popularity", popularity_days=days)
    values = {}
    for name in ("now", "old"):
        judge(ease_of(loaded, given, tmp_path / f"candidate {name}"), tmp_path / name)
        values[name] = pq.read_table(tmp_path / f"candidate {name}" / "evaluation.parquet")["champion"].to_numpy()
    popular = pq.read_table(tmp_path / "candidate now" / "evaluation.parquet")["popularity_7d"].to_numpy()
    assert values["now"] == pytest.approx(popular, abs=1e-6) and values["old"].mean() < popular.mean()


def test_segments_of_people_shelves_and_old_lists_are_looked_at_one_by_one(judge, past, data, tmp_path):  # noqa: F811
    loaded, given = past
    pq.write_table(pa.table({"user_id": loaded.user_ids[:USERS].tolist(), "segment": ["north" if n % 2 else "south" for n in range(USERS)]}), data / dataset.SEGMENTS)
    try:
        decision, found = judge(ease_of(loaded, given, tmp_path / "candidate"))
    finally:
        (data / dataset.SEGMENTS).unlink()
    assert {"slice: segment north", "slice: segment south", "robust: lists 7 days old", "robust: lists 28 days old"} <= set(found)
    assert any(gate.startswith("slice: products of ") for gate in found)
    table = pq.read_table(tmp_path / "candidate" / "evaluation.parquet")
    north, south = (table[f"segment {name}|candidate"].to_numpy() for name in ("north", "south"))
    assert (np.isnan(north) != np.isnan(south)).all() and np.nanmean(np.where(np.isnan(north), south, north)) == pytest.approx(decision["means"]["candidate"], abs=1e-4)


def test_segments_whose_names_hold_what_parts_columns_are_told_apart(judge, past, data, tmp_path):  # noqa: F811
    loaded, given = past
    segments = ["DE", "DE|b2b", "DE b2b"]
    pq.write_table(pa.table({"user_id": loaded.user_ids[:USERS].tolist(), "segment": [segments[n % 3] for n in range(USERS)]}), data / dataset.SEGMENTS)
    try:
        decision, found = judge(ease_of(loaded, given, tmp_path / "candidate"))
    finally:
        (data / dataset.SEGMENTS).unlink()
    assert {"slice: segment DE", "slice: segment DE b2b", "slice: segment DE b2b (2)"} <= set(found) and len(found) == len(decision["verdicts"])
    table = pq.read_table(tmp_path / "candidate" / "evaluation.parquet")
    of_user = dict(zip(loaded.user_ids.tolist(), range(USERS), strict=False))
    for place, name in enumerate(("DE", "DE b2b (2)", "DE b2b")):
        inside = [of_user[user] % 3 == place for user in table["unit"].to_pylist()]
        assert (~np.isnan(table[f"segment {name}|candidate"].to_numpy()) == inside).all()


def test_a_champion_with_another_universe_is_measured_in_the_candidates_numbering(past, tmp_path):
    loaded, given = past
    odd = np.arange(1, ITEMS, 2)
    model = loading.load(ease_of(loaded, given, tmp_path / "champion", odd), 1)
    ranked = evaluation.recommend(model, loaded.item_ids, given, loaded.test_from - 1, False)
    assert set(np.unique(ranked)) <= set(odd.tolist()) and len(ranked) == USERS
    user = 0
    own, _ = model.recommend(heldout.before(loaded, dataset.VALID, np.arange(1)), loaded.test_from - 1, 1)
    assert own.shape == (1, 1) and ranked[user, 0] in odd


def bad(name, loaded, given, folder):
    random = np.random.default_rng(1)
    if name == "shuffled labels":
        return ease_of(loaded, type(given)(given.offsets, random.permutation(given.items), given.days, given.times, given.weights), folder)
    if name == "popular only":
        return sealed(folder, "popularity", lambda place: popularity.save(place, popularity.Popularity(loaded.item_ids, np.bincount(given.items, minlength=ITEMS).astype(np.float32))))
    if name == "one category":  # a quarter of the shop is all that it ever shows
        return sealed(folder, "popularity", lambda place: popularity.save(place, popularity.Popularity(loaded.item_ids, np.where(np.arange(ITEMS) < 10, 100.0, 0.0).astype(np.float32))))
    if name == "half of the data":  # the load of half of the shop's users was forgotten
        return ease_of(loaded, given.users(0, USERS // 2), folder, np.unique(given.users(0, USERS // 2).items)[: ITEMS // 2])
    good = loading.load(ease_of(loaded, given, folder.with_name("good")), 1)
    if name == "quantised to rubbish":  # one bit a weight
        return item_item(folder, good.item_ids, np.sign(good.weights - np.median(good.weights)), good.popularity)
    return item_item(folder, good.item_ids, good.weights, -good.popularity)  # broken for new users


@pytest.mark.parametrize("name", ["shuffled labels", "popular only", "one category", "quantised to rubbish", "half of the data", "broken for new users"])
def test_a_bad_candidate_is_refused(judge, past, tmp_path, name):
    loaded, given = past
    decision, found = judge(bad(name, loaded, given, tmp_path / "bad"), ease_of(loaded, given, tmp_path / "champion"))
    assert decision["winner"] != "candidate"
    if name == "broken for new users":
        assert found["robust: no history"]["refuses"] and found["not_worse_than_champion"]["verdict"] == "pass", "on average it is as good"
    else:
        assert found["not_worse_than_champion"]["refuses"]


def test_the_real_candidate_is_judged_by_every_gate(judge, run, past, tmp_path):  # noqa: F811
    shutil.copytree(run["folder"], tmp_path / "candidate")
    decision, found = judge(tmp_path / "candidate", ease_of(*past, tmp_path / "champion"))
    assert decision["means"]["candidate"] > 0 and len(found) >= 11
