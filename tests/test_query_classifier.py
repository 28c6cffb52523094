"""The whole family on a toy shop with a tiny encoder: trained, compressed with parity, evaluated, served."""

import json
import random
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecomrec import artifact, evaluation, facts, gates, labels, query_classifier
from ecomrec.compression import query_classifier as compression
from ecomrec.compression.query_classifier import compress
from ecomrec.errors import AuditFailed, InputError, SettingsError
from ecomrec.models import encoder_classifier, ngram_classifier
from ecomrec.models.answers import Calibration, probabilities
from ecomrec.settings import Settings
from tests import tiny

WORDS = {"Dairy/Milk": ["milk", "whole", "skimmed", "oat"], "Bakery/Bread": ["bread", "rye", "toast", "bun"], "Home/Soap": ["soap", "wash", "shower", "gel"]}
STRANGE = ["", "x", "<b>milk</b>", "'; DROP TABLE core.items; --", "ｍｉｌｋ", "milk 牛奶 хлеб", "milk" * 2500, "🥛", "\x00\x1b[31m\ud800", " \t\n"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`(settings, dataset, folder, trained, compressed, evaluated)` of one run with two layers of 32 units."""
    home = tmp_path_factory.mktemp("classifier")
    encoder, dataset, folder = home / "encoder", home / "dataset", home / "model"
    for path in (dataset, folder):
        path.mkdir()
    tiny.encoder(encoder, [word for words in WORDS.values() for word in words] + ["bishop", "parliament", "comet", "violin", "granite", "senator", "harbour", "tundra", "physics", "cavalry", "monsoon", "sonnet"])
    source, rows = random.Random(1), {}
    for split, number in (("train", 600), ("valid", 100), ("test", 150)):
        for _ in range(number):
            category = source.choice(list(WORDS))
            query = " ".join(source.sample(WORDS[category], source.randint(1, 3)))
            rows[split, query, category] = rows.get((split, query, category), 0) + 1
    pq.write_table(pa.table({"query": [key[1] for key in rows], "category": [key[2] for key in rows], "weight": [3.0 * count for count in rows.values()],
                             "count": list(rows.values()), "split": [key[0] for key in rows]}), dataset / "queries.parquet")
    (dataset / "labels.json").write_text(json.dumps({"day": "2026-03-31", "simulated": 1.0, "first_day": {"test": "2026-03-25"}}))
    rules = labels.recipe()
    rules["train"].update(samples=1600, batch=32, frozen_layers=0, learning_rate=3e-3, precision="float32")
    rules["compress"]["transfer"] = 2000
    settings = Settings(_env_file=None, home=home, encoder=str(encoder), threads=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labels, "recipe", lambda: rules)
        trained = query_classifier.train(settings, dataset, folder)
        again = query_classifier.train(settings, dataset, home)
        assert again["checks"] == trained["checks"]
        compressed = compress(settings, dataset, folder)
        evaluated = query_classifier.evaluate(settings, dataset, folder)
        assert compress(settings, dataset, folder) == compressed  # a second try finds the work done
    return settings, dataset, folder, trained, compressed, evaluated


def test_it_learns_what_the_words_mean(made):
    *_, trained, _, evaluated = made
    assert trained["valid_top1"] > 0.95
    assert evaluated["models"]["candidate"]["clean"]["top1"] > 0.95 > 0.6 > evaluated["models"]["majority"]["clean"]["top1"]
    assert evaluated["models"]["tfidf_lr"]["clean"]["top1"] > 0.95


def test_onnx_is_the_pytorch_model_and_only_what_serves_is_kept(made):
    _, _, folder, _, compressed, _ = made
    rows = {row["name"]: row for row in compressed["variants"]}
    assert set(rows) == {"torch", "fp32", "int8", "words", "slim", "conv", "fp16"} and rows["fp32"]["share"] == 1 and rows["slim"]["megabytes"] < rows["fp32"]["megabytes"]
    assert not any("of their spread" in row["why"] for row in rows.values())  # no variant overflows
    assert rows[compressed["served"]]["chosen"] and sum(row["chosen"] for row in compressed["variants"]) == 1
    assert [path.name for path in folder.rglob("*.onnx")] == ["model.onnx"] and not list(folder.rglob("*.pt"))


def test_an_export_with_another_vocabulary_is_refused_though_its_checksums_are_right(shop, made, tmp_path):
    """The n-grams still answer most queries of a toy shop, so its accuracy says nothing; its chances are no longer the trained model's."""
    _, dataset, folder, *_ = made
    assert facts.measure(shop, "query_classifier", dataset, folder)["parity"] <= 0.05
    shutil.copytree(folder, wrong := tmp_path / "wrong")
    tokenizer = json.loads((wrong / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    words = [word for word in vocabulary if not word.startswith("[")]
    vocabulary.update(zip(words, [vocabulary[word] for word in words[1:] + words[:1]], strict=True))  # each word has its neighbour's number
    (wrong / "tokenizer.json").write_text(json.dumps(tokenizer))
    artifact.write_manifest(wrong, **{name: value for name, value in artifact.read_manifest(folder).items() if name != "files"})
    facts.measure(shop, "query_classifier", dataset, wrong)
    decision = gates.decide("query_classifier", wrong, 1)
    verdict = {verdict["gate"]: verdict for verdict in decision["verdicts"]}["limit: the trained model"]
    assert verdict["refuses"] and decision["winner"] != "candidate"


def test_the_evaluation_has_one_row_per_query_and_says_that_searches_are_simulated(made):
    _, dataset, folder, *_, evaluated = made
    table = pq.read_table(folder / "evaluation.parquet")
    test = query_classifier.read(dataset, "test")
    assert table.column_names == ["unit", "weight", "candidate", "majority", "tfidf_lr"] and table["unit"].to_pylist() == test["query"]
    assert np.average(table["candidate"].to_numpy(), weights=table["weight"].to_numpy()) == pytest.approx(evaluated["models"]["candidate"]["clean"]["top1"], abs=1e-5)
    assert "SIMULATED" in evaluated["note"] and json.loads((folder / "evaluation.json").read_text()) == evaluated
    assert set(evaluated["models"]["candidate"]["typo"]) == {"top1", "top3", "macro_f1", "ece", "ece_by_chance"}


def test_what_is_not_of_the_shop_is_unknown_and_known_queries_are_not(made):
    model = encoder_classifier.load(made[2], 1)
    found = model.answer(["oat milk", "rye bread", "shower gel"])
    assert [answer.category for answer in found] == ["Dairy/Milk", "Bakery/Bread", "Home/Soap"]
    assert all(0.5 <= answer.probability <= 1 for answer in found)
    assert made[-1]["answers"]["unknown_share"] < 0.1 and made[-1]["answers"]["precision"] > 0.9
    assert made[-1]["answers"]["unknown_auroc"] > 0.8


def test_every_switch_of_the_recipe_trains(made, tmp_path):
    settings, dataset, *_ = made
    rules, desk = labels.recipe(), compression.Desk
    rules["train"].update(samples=192, batch=32, loss="bce", fgm=0.5, lora_rank=2, layer_decay=0.8, checks=1, precision="float32")
    rules["compress"]["variants"] = [rules["compress"]["variants"][0], {"name": "words", "vocabulary": True}]
    rules["augment"].update(typos=0.2, drop=0.2, swap=0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labels, "recipe", lambda: rules)
        assert query_classifier.train(settings, dataset, tmp_path)["steps"] >= 6
        trained = json.loads((tmp_path / "tokenizer.json").read_text())
        for place, name in ((compression, "_calibrate"), (artifact, "write_manifest")):  # killed when the chosen variant's files are there, and just before the seal
            with pytest.MonkeyPatch.context() as kill:
                kill.setattr(place, name, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
                with pytest.raises(KeyboardInterrupt):
                    compress(settings, dataset, tmp_path)
        seen = []
        patch.setattr(compression, "Desk", lambda settings, dataset, folder, *others: (seen.append(json.loads((folder / "tokenizer.json").read_text())), desk(settings, dataset, folder, *others))[1])
        compress(settings, dataset, tmp_path)
        assert seen == [trained] and not list(tmp_path.glob(".*"))
    names, chances = encoder_classifier.load(tmp_path, 1).predict(["oat milk"])
    assert names[0] and 0 < chances[0, 0] < 1


@pytest.mark.parametrize("kind", ["candidate", "baseline"])
def test_any_text_gets_an_answer(made, kind):
    folder = made[2]
    model = encoder_classifier.load(folder, 1) if kind == "candidate" else ngram_classifier.load(folder / "baselines" / "tfidf_lr")
    names, chances = model.predict([*STRANGE, "oat milk", "OAT  Milk"], k=2)
    assert chances.shape == (len(STRANGE) + 2, 2) and np.isfinite(chances).all() and (chances[:, 0] >= chances[:, 1]).all()
    assert names[-1] == names[-2] and names[-1][0] == "Dairy/Milk"
    assert model.predict(["milk"], k=99)[1].sum() == pytest.approx(1, abs=1e-5)


def test_the_baseline_is_calibrated_and_says_unknown_to_what_it_never_read(made):
    """It may be what serves."""
    dataset, folder = made[1], made[2]
    model, valid = ngram_classifier.load(folder / "baselines" / "tfidf_lr"), query_classifier.read(dataset, "valid")
    column = {name: place for place, name in enumerate(model.categories)}
    known = [row for row, label in enumerate(valid["label"]) if label in column]
    target, scores = np.array([column[valid["label"][row]] for row in known]), model.scores([valid["query"][row] for row in known])

    def loss(temperature):
        return np.average(-np.log(probabilities(scores, Calibration(temperature=temperature))[np.arange(len(target)), target] + 1e-9), weights=valid["count"][known])

    assert model.calibration.temperature != 1.0 and loss(model.calibration.temperature) < loss(1.0)
    assert [found.category for found in model.answer(["🛋️🛋️", "ΟΔΟΣ", ""])] == ["unknown"] * 3 and model.answer(["milk"])[0].category != "unknown"


def test_an_altered_artefact_or_another_kind_is_refused(made, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(made[2], copy)
    with pytest.raises(AuditFailed, match="not a ngram_classifier"):
        ngram_classifier.load(copy)
    (copy / "categories.json").write_text("[]")
    with pytest.raises(AuditFailed, match="altered"):
        encoder_classifier.load(copy)


def test_no_encoder_and_no_test_days_are_said_with_a_remedy(made, tmp_path):
    settings, dataset, folder, *_ = made
    with pytest.raises(SettingsError, match="ECOMREC_ENCODER"):
        (tmp_path / "empty").mkdir()
        query_classifier.train(Settings(_env_file=None, encoder=str(tmp_path / "empty")), dataset, tmp_path)
    table = pq.read_table(dataset / "queries.parquet")
    pq.write_table(table.filter(pa.compute.not_equal(table["split"], "test")), tmp_path / "queries.parquet")
    (tmp_path / "labels.json").write_text((dataset / "labels.json").read_text())
    with pytest.raises(InputError, match="no labelled search on the test days"):
        query_classifier.evaluate(settings, tmp_path, folder)


def test_measures_of_a_known_case():
    test = {"label": ["a", "b", "c"], "count": np.array([2.0, 1.0, 1.0])}
    found = query_classifier._measures([["a", "b"], ["a", "b"], ["c", "a"]], np.array([[1.0, 0], [0.5, 0.5], [1.0, 0]]), test)
    assert found == {"top1": 0.75, "top3": 1.0, "macro_f1": round((0.8 + 0 + 1) / 3, 6), "ece": 0.125, "ece_by_chance": pytest.approx(np.sqrt(2 / np.pi) * 0.5 / 4, abs=1e-6)}


def test_the_gates_see_the_champion_and_typing_errors(made):
    settings, dataset, folder = made[:3]
    evaluation.extend(settings, "query_classifier", dataset, folder, folder / "baselines" / "tfidf_lr", lambda _: None)
    table = pq.read_table(folder / "evaluation.parquet")
    assert table["champion"].to_pylist() == table["tfidf_lr"].to_pylist(), "the same model measures the same"
    spoilt = table["robust: a typing error|candidate"].to_numpy()
    assert 0.2 < spoilt.mean() <= np.mean(table["candidate"].to_numpy())
    assert {"not_worse_than_champion", "robust: a typing error"} <= {verdict["gate"] for verdict in gates.decide("query_classifier", folder, 1)["verdicts"]}
