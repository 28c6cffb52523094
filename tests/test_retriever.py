"""The retriever on a toy shop: it learns which product a query means, is exported with parity, fused and evaluated."""

import json
import random
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecomrec import canary, retriever
from ecomrec.compression import retriever as compression
from ecomrec.compression.retriever import compress
from ecomrec.errors import InputError, SettingsError
from ecomrec.search import hybrid, pairs
from ecomrec.search.lexical import Lexical
from ecomrec.settings import Settings
from tests import tiny

# Shoppers say words that the titles lack: only what was clicked tells that a couch is a sofa.
SAID = {"sofa": "couch", "tin": "can", "jumper": "sweater", "torch": "flashlight"}
COLOURS = ["red", "blue", "green", "black", "white"]
STRANGE = ["", " ", "x", "<b>couch</b>", "'; DROP TABLE core.items; --", "🛋️", "ｃｏｕｃｈ", "couch " * 3000, "\x00\x07", "沙发 couch"]


def tables() -> tuple[pa.Table, pa.Table, pa.Table]:
    items = [(f"{kind}-{colour}", f"{colour} {kind}", "Acme" if place % 2 else "", f"Shop/{kind}", "", "{}", True)
             for kind in SAID for place, colour in enumerate(COLOURS)]
    items.append(("nameless", "", "", "Shop/sofa", "", '{"kind": "sofa"}', True))
    source, rows = random.Random(1), []
    for day in [date(2026, 3, number) for number in range(1, 32)]:
        for _ in range(20):
            kind, colour = source.choice(list(SAID)), source.choice(COLOURS)
            rows.append((day, f"{colour} {SAID[kind]}", f"{kind}-{colour}", source.choice([1, 2, 3]), 2.0, 1))
    names = ("item_id", "title", "brand", "category", "description", "attributes", "in_stock")
    shop = pa.table({name: [row[place] for row in items] for place, name in enumerate(names)})
    found = pa.table({name: [row[place] for row in rows] for place, name in enumerate(("day", "query", "item_id", "grade", "weight", "count"))})
    return shop, found, pa.table({"query": ["red couch"], "item_id": ["tin-red"]})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("retriever")
    encoder = tiny.encoder(home / "encoder", [*SAID, *SAID.values(), *COLOURS, "shop"])
    settings = Settings(_env_file=None, home=home, encoder=str(encoder), threads=2)
    dataset, folder = home / "dataset", home / "model"
    folder.mkdir()
    meta = pairs.write(settings, "2026-03-31", *tables(), dataset)
    rules = pairs.recipe()
    rules["compress"]["transfer"] = 500
    rules["train"].update(pairs=1600, batch=32, frozen_layers=0, learning_rate=3e-3, dropout=0.0, soup=1.0, precision="float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retriever, "recipe", lambda: rules)
        patch.setattr(compression, "recipe", lambda: rules)
        trained = retriever.train(settings, dataset, folder)
        compressed = compress(settings, dataset, folder)
        evaluated = retriever.evaluate(settings, dataset, folder)
        assert compress(settings, dataset, folder) == compressed  # a second try finds the work done
    return settings, dataset, folder, meta, trained, compressed, evaluated


def test_it_stands_before_canaries(made):
    settings, dataset, folder, *_ = made
    found = retriever.answers(settings, dataset, folder)
    assert len(found) == len(pq.read_table(folder / "evaluation.parquet")) and all(0 < len(set(one)) == len(one) <= 10 for one in found)
    looked = canary.look(settings, "retriever", dataset, folder, folder / "baselines" / "bm25")
    assert looked["canaries"] == len(found) and looked["same"] == 1.0 and looked["overlap"] > 0.02


def test_it_learns_words_that_no_title_has(made):
    *_, meta, trained, compressed, evaluated = made
    assert meta["products"] == 21 and meta["pairs"]["test"] > 0 and trained["from_searches"] == 400
    assert evaluated["models"]["candidate"] > 0.9 > 0.75 > evaluated["models"]["bm25"]
    assert evaluated["models"]["candidate"] > evaluated["models"]["zero_shot"]
    assert compressed["embedders"]["products.fp32"]["cosine"] > 0.9999 and str(compressed["fusion_weight"]) in compressed["valid_ndcg10"]


def test_the_evaluation_has_a_row_per_query_for_the_gates(made):
    _, _, folder, *_, evaluated = made
    table = pq.read_table(folder / "evaluation.parquet")
    assert table.column_names == ["unit", "weight", "candidate", "bm25", "zero_shot"] and len(table) == evaluated["queries"]
    assert json.loads((folder / "evaluation.json").read_text()) == evaluated


@pytest.mark.parametrize("which", ["", "baselines/bm25", "baselines/zero_shot"])
def test_any_text_gets_an_answer(made, which):
    _, dataset, folder, *_ = made
    shop = pairs.products(pq.read_table(dataset / "items.parquet"))
    model = hybrid.load(folder / which)
    vectors = model.encode(shop.texts) if model.encoder else None
    rows, scores = model.search(STRANGE, vectors, Lexical(shop.texts), shop.texts, 5)
    assert rows.shape == (len(STRANGE), 5) and np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1.0001).all()
    assert (rows[0] == -1).all() and (rows[1] == -1).all()
    assert all(len(set(found[found >= 0])) == (found >= 0).sum() for found in rows)


def test_a_re_ranker_orders_the_first_fifty_and_is_held_to_one_number_for_each(made):
    _, dataset, folder, *_ = made
    shop = pairs.products(pq.read_table(dataset / "items.parquet"))
    model, lexical = hybrid.load(folder), Lexical(shop.texts)
    vectors, asked = model.encode(shop.texts), []

    def backwards(query: str, texts: list[str]) -> list[int]:
        asked.append((query, len(texts)))
        return list(range(len(texts)))

    plain, scores = model.search(["red couch", ""], vectors, lexical, shop.texts, len(shop.texts))
    turned, again = replace(model, reranker=backwards).search(["red couch", ""], vectors, lexical, shop.texts, len(shop.texts))
    there = plain[0] >= 0
    assert asked == [("red couch", int(there.sum()))], "an empty query is not asked about"
    assert turned[0][there].tolist() == plain[0][there][::-1].tolist() and (again == scores).all() and (turned[1] == -1).all()
    for wrong in (lambda query, texts: [1.0], lambda query, texts: [float("nan")] * len(texts)):
        with pytest.raises(SettingsError, match="one finite number for each text"):
            replace(model, reranker=wrong).search(["red couch"], vectors, lexical, shop.texts, 3)
    with pytest.raises(SettingsError, match=r"write it as package\.module:function"):
        hybrid.reranker("nowhere:at_all")


def test_hard_negatives_were_shown_or_nearly_fit_and_never_answer(made):
    _, dataset, *_ = made
    shop = pairs.products(pq.read_table(dataset / "items.parquet"))
    drawn, place = retriever.Negatives(dataset, shop, random.Random(3)), {item: row for row, item in enumerate(shop.item_ids)}
    sofa, answers = place["sofa-red"], drawn.answers("red couch")
    assert answers == {sofa} and {drawn.draw("red couch", sofa) for _ in range(50)} == {place["tin-red"]}, "what was shown and not chosen comes first"
    found = {drawn.draw("blue couch", place["sofa-blue"]) for _ in range(200)}
    blue, sofas = {row for item, row in place.items() if item.endswith("-blue")}, {row for row, kind in enumerate(shop.categories) if kind == "Shop/sofa"}
    assert place["sofa-blue"] not in found and found & blue and found & sofas and found <= blue | sofas


def test_without_searches_queries_are_made_from_titles(made, tmp_path):
    settings, *_ = made
    shop, found, shown = tables()
    meta = pairs.write(settings, "2026-03-31", shop, found.slice(0, 0), shown.slice(0, 0), tmp_path / "dataset")
    assert meta["pairs"] == {"train": 0, "valid": 0, "test": 0}
    rules = pairs.recipe()
    rules["compress"]["transfer"] = 500
    rules["train"].update(pairs=128, batch=32, frozen_layers=0, precision="float32")
    (tmp_path / "model").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retriever, "recipe", lambda: rules)
        patch.setattr(compression, "recipe", lambda: rules)
        assert retriever.train(settings, tmp_path / "dataset", tmp_path / "model")["from_searches"] == 0
        assert compress(settings, tmp_path / "dataset", tmp_path / "model")["fusion_weight"] == rules["fusion"]["weight"]
        found = retriever.evaluate(settings, tmp_path / "dataset", tmp_path / "model")
        assert found["queries"] > 0 and "MADE from product texts" in found["note"] and found["models"]["bm25"] > 0
        assert len(retriever.answers(settings, tmp_path / "dataset", tmp_path / "model")) > 0


def test_searches_that_stopped_before_the_test_days_are_said(made, tmp_path):
    settings, *_ = made
    shop, found, shown = tables()
    pairs.write(settings, "2026-06-30", shop, found, shown, tmp_path / "dataset")
    with pytest.raises(InputError, match="no search of the test days"):
        retriever.evaluate(settings, tmp_path / "dataset", tmp_path / "model")


def test_no_product_is_said(made, tmp_path):
    shop, found, shown = tables()
    with pytest.raises(InputError, match="no product"):
        pairs.write(made[0], "2026-03-31", shop.slice(0, 0), found, shown, tmp_path)
