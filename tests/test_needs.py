"""What users of other recommender systems ask for most, in the order of how often they do: one test each, the threads beside it.

Each proves its need on a small real shop; where the whole proof is elsewhere, the docstring says where.
"""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from scipy import sparse

from ecomrec import artifact, metrics, publication
from ecomrec.compression import graph
from ecomrec.contract import EVENT_TYPES
from ecomrec.database import connect
from ecomrec.models import Recency, itemitem, loading
from ecomrec.privacy import erasure
from tests.models.test_contract import DAYS, checkerboard, save_sequential
from tests.shopdata import rows
from tests.test_recommend import ITEMS, PLAIN, best, item, lists, model, run, small  # noqa: F401 - fixtures of the same small shop

ROOT = Path(__file__).parent.parent
USERS = {f"u{n}" for n in range(8)}


def bought(settings) -> set[tuple[str, str]]:
    return set(rows(settings.shop_dsn, "SELECT DISTINCT user_id, item_id FROM core.events WHERE event_type = 'purchase'"))


def shown(settings) -> set[tuple[str, str]]:
    return set(rows(settings.shop_dsn, "SELECT DISTINCT user_id, item_id FROM analytics.user_lists"))


def test_need_01_memory_does_not_grow_with_the_shop(small, model):  # noqa: F811
    """gorse #239 #1217 #391, metarank #1543 #1257, implicit #688 #247, recommenders #1432. A shard holds as many users as its budget says,
    whatever the shop's size (`python -m benchmarks.recommend` measures it); advice: docs/sizing.md."""
    plans = [publication.open_publication(small.model_copy(update={"shard_users": most}), f"run {most}", "2017-03-20", "recommender/1 (test)") for most in (2, 4)]
    for most, plan in zip((2, 4), plans, strict=True):
        firsts = [shard["first_user"] for shard in plan["shards"]]
        assert len(firsts) == 8 // most and firsts == sorted(firsts) and plan["shards"][-1]["next_user"] is None
    assert "memory" in (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")


def test_need_02_every_user_gets_a_list_from_one_batch(small, model):  # noqa: F811
    """RecBole #1884 #1848 #1896 #1032 #1286, Merlin #419 #462, implicit #625 #477."""
    run(small, model, PLAIN)
    assert lists(small).keys() == USERS and all(len(names) == 6 for names in lists(small).values())


def test_need_03_business_filters_take_effect_and_are_counted(small, model):  # noqa: F811
    """gorse #834 #837 #1326 #1327 #704 #902, Product-Recommendations #28: several categories, include, exclude, boost; a filter never does nothing silently."""
    run(small, model, PLAIN + '[[rules]]\nname = "not these"\ndo = "exclude"\ncategory = ["AISLE 0", "AISLE 2"]\n'
                              '[[rules]]\nname = "first"\ndo = "boost"\nbrand = "B4"\nstrength = 50\n')
    for names in lists(small).values():
        assert all(int(name[1:]) % 4 in (1, 3) for name in names) and int(names[0][1:]) % 5 == 4
    counted = dict(rows(small.shop_dsn, "SELECT rule, lists FROM analytics.rule_effects"))
    assert counted["not these"] == 8 and counted["first"] == 8


def test_need_04_new_users_and_new_products_are_not_left_out(small, model, monkeypatch):  # noqa: F811
    """gorse #151 #357 #325, RecTools #87 #119 #121, recommenders #273. A product takes the place its text says, a stranger reads the shop's popular list."""
    from ecomrec.recommend import catalogue as module

    monkeypatch.setattr(module, "_encode", lambda texts, *_: np.repeat(np.eye(ITEMS, dtype=np.float32)[:1], len(texts), axis=0))
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO core.items (item_id, title, category, updated_at, loaded_day) VALUES ('new', 'thing like 0', 'AISLE 0/SHELF 0', '2017-03-19', '2017-03-19')")
    run(small, model, PLAIN)
    assert all("new" in names for names in lists(small).values())
    assert rows(small.shop_dsn, "SELECT count(*) > 0 FROM analytics.popular_items WHERE segment = '' AND days = 28") == [(True,)]


def test_need_05_what_was_bought_is_never_shown_where_the_shop_says_so(small, model):  # noqa: F811
    """gorse #831 #833 #49 #191, RePlay #61: one filter for all models and contexts."""
    run(small.model_copy(update={"exclude_bought": True}), model)
    assert shown(small) and not shown(small) & bought(small)


def test_need_06_event_types_mean_what_the_contract_says(small, model):  # noqa: F811
    """gorse #353 #848 #1234 #774: every type is described, and only what the recipe weighs is learned from."""
    contract, recipe = (ROOT / "docs" / "data-contract.md").read_text(encoding="utf-8"), tomllib.loads((ROOT / "ecomrec/recipes/recommender.toml").read_text(encoding="utf-8"))
    assert all(f"`{kind}`" in contract for kind in EVENT_TYPES) and set(recipe["dataset"]["weights"]) <= set(EVENT_TYPES)
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("""INSERT INTO core.events (event_day, event_id, event_time, user_id, event_type, item_id)
                          VALUES ('2017-03-17', 'x', '2017-03-17 12:00Z', 'looker', 'click', 'i00'), ('2017-03-17', 'y', '2017-03-17 12:00Z', 'looker', 'remove', 'i01')""")
    run(small, model, PLAIN)
    assert lists(small).keys() == USERS, "who only looked is no buyer, and what was taken out of a cart is no purchase"


def test_need_07_lists_are_personal_and_diverse(small, tmp_path):  # noqa: F811
    """gorse #742 #1223, metarank #966 #1171."""
    near = sparse.csr_matrix((np.ones(ITEMS, dtype=np.float32), (np.arange(ITEMS), (np.arange(ITEMS) + 8) % ITEMS)), shape=(ITEMS, ITEMS))
    folder = tmp_path / "personal"
    itemitem.save(folder, itemitem.ItemItem(np.array([item(n) for n in range(ITEMS)]), near, Recency(30.0), np.arange(ITEMS, 0, -1, dtype=np.float32)))
    np.save(folder / "item_vectors.npy", np.eye(ITEMS, dtype=np.float16))
    artifact.write_manifest(folder, kind="itemitem")
    run(small, str(folder), PLAIN)
    plain = lists(small)
    assert len(set(map(tuple, plain.values()))) >= 7
    run(small, str(folder), PLAIN + "diversity = 0.9\n", key="diverse")
    shelves = [np.mean([len({int(name[1:]) % 4 for name in names}) for names in found.values()]) for found in (plain, lists(small))]
    assert shelves[1] > shelves[0]


def test_need_08_metrics_are_those_of_an_independent_library():
    """gorse #366 #204 #997, recommenders #1048. The definitions, checked at random: tests/test_metrics.py; proof instead of a mean: tests/test_gates.py."""
    import ir_measures
    from ir_measures import nDCG

    random = np.random.default_rng(1)
    ranked = np.stack([random.permutation(50)[:10] for _ in range(20)])
    wanted = [np.sort(random.choice(50, random.integers(1, 6), replace=False)) for _ in range(20)]
    own = metrics.per_user(ranked, np.concatenate(([0], np.cumsum([len(items) for items in wanted]))), np.concatenate(wanted), 10)["NDCG@10"]
    qrels = [ir_measures.Qrel(str(user), str(one), 1) for user, items in enumerate(wanted) for one in items]
    run_of = [ir_measures.ScoredDoc(str(user), str(one), float(-place)) for user, row in enumerate(ranked) for place, one in enumerate(row)]
    theirs = {int(found.query_id): found.value for found in ir_measures.iter_calc([nDCG @ 10], qrels, run_of)}
    assert own == pytest.approx([theirs[user] for user in range(20)], abs=1e-6)


def test_need_09_it_serves_on_a_cpu_through_onnx(tmp_path):
    """Transformers4Rec #369 #27, triton #3976, NVTabular #739, EasyRec #466."""
    kind = save_sequential(tmp_path, checkerboard())
    artifact.write_manifest(tmp_path, kind=kind)
    assert graph.session(tmp_path / "encoder.onnx", 1).get_providers() == ["CPUExecutionProvider"] or "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    found, scores = loading.load(tmp_path, 1).recommend(checkerboard(), DAYS, 3)
    assert (found >= 0).all() and np.isfinite(scores).all()


def test_need_10_it_installs_from_one_pinned_file_without_a_vendor():
    """EasyRec #533 #187 #243 #354, recommenders #2097 #2020. The installation itself is what `make test` begins with."""
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._\[\],-]+==[^ ]+", line) for line in pinned if line and not line.startswith("#"))
    assert not [line for line in pinned if line.startswith(("nvidia", "pai", "aliyun"))]
    python = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert "3.11" in python


def test_need_11_a_new_buyer_is_served_without_training_anew(small, model):  # noqa: F811
    """metarank #1288 #670, implicit #42 #210 #642. Training itself is a scheduled DAG: tests/test_dags.py."""
    run(small, model, PLAIN)
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("""INSERT INTO core.events (event_day, event_id, event_time, user_id, event_type, item_id, price, quantity)
                          VALUES ('2017-03-17', 'z', '2017-03-17 12:00Z', 'newcomer', 'purchase', 'i09', 1, 1)""")
    run(small, model, PLAIN, key="next day")
    assert lists(small).keys() == USERS | {"newcomer"}


def test_need_12_a_person_is_deleted_from_data_and_lists(small, model):  # noqa: F811
    """collie #28, matej #77, ger #52. Files, models, caches and a proof search over everything: tests/privacy/test_erasure.py."""
    settings = small.model_copy(update={"user_key": None, "user_ids": "pseudonyms"})
    run(settings, model, PLAIN)
    report = erasure.erase(settings, ["u3"], "letter 17", "test", lambda line: None)
    assert report["left"] == {} and lists(settings).keys() == USERS - {"u3"}
    assert rows(settings.shop_dsn, "SELECT count(*) FROM core.events WHERE user_id = 'u3'") == [(0,)] and "u3" not in json.dumps(report["models"])


def test_need_13_several_contexts_come_from_one_run(small, model):  # noqa: F811
    """metarank #780."""
    run(small, model)
    contexts = dict(rows(small.shop_dsn, "SELECT context, count(DISTINCT user_id) FROM analytics.user_lists GROUP BY context"))
    assert set(contexts) == {"home", "again", "basket", "category", "email"} and contexts["home"] == 8
    assert lists(small)["u7"] != lists(small, "email")["u7"] and set(lists(small)["u0"]) <= set(best(ITEMS))
