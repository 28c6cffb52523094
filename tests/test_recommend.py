"""From histories to lists, on a shop of forty items whose right answers are known by construction."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest

from ecomrec import artifact, profiles, publication
from ecomrec.database import connect
from ecomrec.dataset import describe
from ecomrec.errors import AuditFailed, EcomrecError, SettingsError
from ecomrec.models import loading, popularity
from ecomrec.models.topn import top
from ecomrec.recommend import histories, rules
from ecomrec.recommend.related import build as build_related
from ecomrec.recommend.shard import prepare, score_shard
from ecomrec.recommender import recipe
from ecomrec.text import encode
from tests import tiny
from tests.shopdata import fill, purchase, rows

DAY = "2017-03-20"
ITEMS = 40  # item n is of aisle n % 4 and shelf n % 8, brand n % 5


def item(number: int) -> str:
    return f"i{number:02}"


def catalogue(**changed):
    """`changed`: item id -> (in_stock, deleted)."""
    return [(item(n), f"thing {n}", f"AISLE {n % 4}/SHELF {n % 8}", f"B{n % 5}", *changed.get(item(n), (True, False))) for n in range(ITEMS)]


EVENTS = [purchase(f"u{u}", item((u + 4 * n) % ITEMS), f"2017-03-{10 + n:02}") for u in range(8) for n in range(1 + u)]


def save_model(folder, vectors=True, **facts):
    """Popularity falls with the item's number: everyone's scores are 40, 39, …, 1. `vectors`: of the items, or True for those of nothing; `facts`: of the manifest."""
    popularity.save(folder, popularity.Popularity(np.array([item(n) for n in range(ITEMS)]), np.arange(ITEMS, 0, -1, dtype=np.float32)))
    if vectors is not False:
        np.save(folder / "item_vectors.npy", np.eye(ITEMS, dtype=np.float16) if vectors is True else vectors.astype(np.float16))
    artifact.write_manifest(folder, kind="popularity", **facts)
    return str(folder)


def save_sequential(folder):
    """A whole model, untrained, with an index that reads every cell; `probes` in its config.json says whether it is used."""
    import torch
    from scipy import sparse

    from ecomrec.compression import graph
    from ecomrec.models import Recency, itemitem, nearest, serving, tables
    from ecomrec.models.sequential import UserEncoder

    random, dim, ids = np.random.default_rng(2), 4, np.array([item(n) for n in range(ITEMS)])
    torch.manual_seed(2)
    folder.mkdir()
    axes = {"vectors": {0: "users", 1: "baskets"}, "days": {0: "users", 1: "baskets"}, "last": {0: "users"}, "states": {0: "users"}}
    example = torch.zeros(2, 3, dim), torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    graph.export(UserEncoder(dim, 2, 1, 0.0).eval(), example, folder / "encoder.onnx", ["vectors", "days", "last"], ["states"], axes)
    sold = np.arange(ITEMS, 0, -1, dtype=np.float32)
    tables.save(folder / tables.FILE, random.normal(size=(ITEMS, dim)).astype(np.float32), {"item_ids": ids, "bias": np.log(sold), "again": np.ones(ITEMS, dtype=np.float32), "popularity": sold})
    weights = sparse.random(ITEMS, ITEMS, density=0.3, random_state=2, dtype=np.float32, format="csr")
    itemitem.save(folder / "linear", itemitem.ItemItem(ids, weights, Recency(20.0), sold))
    config = {"encoder": "encoder.onnx", "max_baskets": 9, "half_life": 9.0, "repeat": 1.5, "scale": 2.0, "share": 0.5, "blend": 0.3, "readiness": 0.5, "trend": 0.2, "by_event": False}
    nearest.save(folder / nearest.FILE, index := nearest.build(serving.sequential(folder, config).tall, 1))
    vectors = random.normal(size=(ITEMS, ITEMS))
    np.save(folder / "item_vectors.npy", (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16))
    return {**config, "probes": index.cells.nlist, "depth": 2}


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model")


def run(settings, model, toml="", key="run", live=True):
    """A publication by the rules in `toml`, made live unless told otherwise; returns its plan."""
    if toml:
        path = settings.home / f"{key}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(toml), encoding="utf-8")
        settings = settings.model_copy(update={"rules": path})
    plan = publication.open_publication(settings, key, DAY, "recommender/1 (test)")
    prepare(settings, plan, model)
    build_related(settings, plan, model)
    for shard in plan["shards"]:
        score_shard(settings, plan, shard, model)
    profiles.build(settings, plan["publication_id"], DAY)
    if live:
        publication.go_live(settings, plan["publication_id"], publication.audit(settings, plan["publication_id"], DAY))
    return plan


def lists(settings, context="home"):
    found = {}
    for user, name in rows(settings.shop_dsn, "SELECT user_id, item_id FROM analytics.user_lists WHERE context = %s ORDER BY user_id, scope, rank", context):
        found.setdefault(user, []).append(name)
    return found


@pytest.fixture
def small(shop):
    fill(shop.shop_dsn, catalogue(i03=(False, False), i05=(True, True)), EVENTS)
    return shop.model_copy(update={"list_length": 6})


PLAIN = "[contexts.home]\n"


def best(count, without=()):
    return [item(n) for n in range(ITEMS) if item(n) not in {"i03", "i05", *without}][:count]


@pytest.mark.parametrize(("shape", "n"), [((30, 5003), 200), ((20, 999), 50), ((5, 40), 60), ((20, 5000), 100)])
@pytest.mark.parametrize("kind", ["different", "tied", "mostly forbidden"])
def test_the_top_is_exact(shape, n, kind):
    random = np.random.default_rng(1)
    values = random.normal(size=shape).astype(np.float32)
    if kind != "different":
        values = np.round(values, 1) if kind == "tied" else np.where(random.random(shape) < 0.98, -np.inf, np.round(values)).astype(np.float32)
    ids, scores = top(values, n)
    order = np.argsort(-values, axis=1, kind="stable")[:, :n]
    wanted = np.take_along_axis(values, order, axis=1)
    assert (scores[:, :order.shape[1]] == wanted).all() and np.isneginf(scores[:, order.shape[1]:]).all()
    assert (ids[:, :order.shape[1]] == np.where(np.isneginf(wanted), -1, order)).all() and (ids[:, order.shape[1]:] == -1).all()


def test_every_user_gets_the_best_that_can_be_had(small, model):
    run(small, model, PLAIN)
    found = lists(small)
    assert found == {f"u{u}": best(6) for u in range(8)}


def test_what_sells_now_takes_the_place_of_what_sold_when_the_model_was_trained(small, tmp_path):
    place = tmp_path / "model"
    save_model(place)
    artifact.write_manifest(place, kind="popularity", popularity_days=7)
    run(small, str(place), PLAIN)
    sold = {item(n): 0 for n in range(ITEMS)}
    for day, _, _, _, _, _, name, *_ in EVENTS:
        sold[name] += "2017-03-14" <= day <= DAY
    wanted = sorted(set(sold) - {"i03", "i05"}, key=lambda name: (-sold[name], name))[:6]
    found = lists(small)
    assert wanted != best(6) and found["u0"] == wanted and len(found) == 8
    assert all(sold[name] == 1 for names in found.values() for name in names), "who bought some of them gets those after the others that sold as well"


def test_events_that_count_less_than_a_purchase_are_read_by_the_model_alone(small, monkeypatch):
    """As in training; what was clicked is not bought: no rule and no reason may take it for that, and who only clicked has no lists."""
    clicks = [purchase("u1", "i30", "2017-03-12", kind="click"), purchase("looker", "i31", "2017-03-12", kind="click")]
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO core.events (event_day, event_id, event_time, user_id, session_id, event_type, item_id, price, quantity) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", clicks)
    monkeypatch.setattr(histories, "recipe", lambda: {"dataset": {"weights": {"purchase": 1.0, "click": 0.25}}})
    given = {"first_day": "2017-03-01", "day": DAY, "first_user": "", "next_user": None, "users": ["looker", "u1"]}
    ids = np.array([item(n) for n in range(ITEMS)])
    with connect(small.shop_dsn) as connection:
        by_name = histories.read(connection, given, ids, name="recommend/histories_of", users=np.array(["looker", "u1"]))
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE kept (user_id text)")
        assert histories.read(connection, given, ids).users.tolist() == [f"u{u}" for u in range(8)]
    assert by_name.read.items.tolist() == [31, 1, 5, 30] and by_name.read.weights.tolist() == [0.25, 1, 1, 0.25] and by_name.read.offsets.tolist() == [0, 1, 4]
    assert by_name.histories.items.tolist() == by_name.owned.items.tolist() == [1, 5] and by_name.known(31).items.tolist() == [1, 5, 30]


def test_several_shards_give_the_same_lists(small, model):
    run(small, model)
    before = rows(small.shop_dsn, "SELECT user_id, context, scope, rank, item_id, score, reason, because_item_id FROM analytics.user_lists ORDER BY 1, 2, 3, 4")
    run(small.model_copy(update={"shard_users": 3}), model, key="again")
    assert rows(small.shop_dsn, "SELECT user_id, context, scope, rank, item_id, score, reason, because_item_id FROM analytics.user_lists ORDER BY 1, 2, 3, 4") == before


@pytest.mark.parametrize(("rule", "expected"), [
    ('do = "exclude"\ncategory = "AISLE 0"', lambda: [name for name in best(40) if int(name[1:]) % 4][:6]),
    ('do = "exclude"\ncategory = "AISLE 0/SHELF 4"', lambda: [name for name in best(40) if int(name[1:]) % 8 != 4][:6]),
    ('do = "include"\nbrand = ["B1", "B2"]', lambda: [name for name in best(40) if int(name[1:]) % 5 in (1, 2)][:6]),
    ('do = "exclude"\ncategory = "AISLE 0"\nfrom = 2017-04-01', lambda: best(6)),
    ('do = "exclude"\ncategory = "AISLE 0"\nto = 2017-03-19', lambda: best(6)),
    ('do = "boost"\nitem = ["i39"]\nstrength = 50', lambda: ["i39", *best(5)]),
    ('do = "bury"\nitem = ["i00"]\nstrength = 50', lambda: best(6, ["i00"])),
    ('do = "pin"\nitem = "i30"\nplace = 3', lambda: [*best(2), "i30", *best(40)[2:5]]),
    ('do = "cap"\nper = "brand"\nat_most = 1', lambda: ["i00", "i01", "i02", "i04", "i08"]),
])
def test_each_rule_does_what_it_says_and_is_counted(small, model, rule, expected):
    run(small, model, f'{PLAIN}minimum = 0\n[[rules]]\nname = "it"\n{rule}\n')
    assert set(map(tuple, lists(small).values())) == {tuple(expected())}
    counted = dict(rows(small.shop_dsn, "SELECT rule, lists FROM analytics.rule_effects"))
    assert counted["availability"] == 8
    assert counted.get("it", 0) == (0 if "2017-0" in rule else 8)


EVERYTHING = """
candidates = 12
reserve = 2
[contexts.home]
explore = 0.34
diversity = 0.2
[contexts.basket]
source = "last_basket"
[contexts.email]
[contexts.again]
source = "bought"
[contexts.category]
source = "category"
groups = 2
length = 3
[[repeat]]
category = "AISLE 1"
again = 3
[[repeat]]
after = "seen"
brand = "B2"
again = 7
[[rules]]
name = "out"
do = "exclude"
category = "AISLE 2/SHELF 2"
[[rules]]
name = "not in Germany"
do = "exclude"
brand = "B0"
segments = ["DE"]
[[rules]]
name = "only for mail"
do = "include"
brand = ["B1", "B4"]
contexts = ["email"]
[[rules]]
name = "more"
do = "boost"
item = ["i39"]
strength = 3
[[rules]]
name = "there"
do = "pin"
item = "i30"
place = 2
[[rules]]
name = "pair"
do = "block"
when_bought = {item = "i07"}
category = "AISLE 3/SHELF 7"
"""


def test_what_is_searched_for_is_what_scoring_everything_finds(small, tmp_path, monkeypatch):
    """All kinds of rules and contexts at once, new products, a stranger and two countries: as a large catalogue is served, and as a small one."""
    from ecomrec.models import loading, serving
    from ecomrec.recommend import catalogue as module

    monkeypatch.setattr(serving, "WHOLE", 2)  # even of forty most are searched
    monkeypatch.setattr(module, "_encode", lambda texts, *_: np.eye(ITEMS, dtype=np.float32)[2:2 + len(texts)] + 0.3)
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO core.items (item_id, title, category, brand, updated_at, loaded_day) SELECT 'new' || n, 'thing', 'AISLE 0/SHELF 0', 'B1', '2017-03-19', '2017-03-19' FROM generate_series(1, 3) n")
        cursor.execute("UPDATE core.item_history SET valid_from = '2017-03-15' WHERE item_id >= 'i30'")
        cursor.execute("""UPDATE core.events SET context = '{"country": "DE"}' WHERE user_id IN ('u1', 'u2')""")
        cursor.execute("""INSERT INTO core.events (event_day, event_id, event_time, user_id, event_type, item_id)
                          VALUES ('2017-03-17', 'x', '2017-03-17 12:00Z', 'u5', 'impression', 'i02'), ('2017-03-17', 'y', '2017-03-17 13:00Z', 'stranger', 'purchase', 'new1')""")
    folder = tmp_path / "model"
    config, found = save_sequential(folder), []
    for key, probes in (("whole", 0), ("searched", config["probes"])):
        (folder / "config.json").write_text(json.dumps({**config, "probes": probes}))
        artifact.write_manifest(folder, kind="sequential")
        assert (loading.load(folder).index is None) == (key == "whole")
        run(small.model_copy(update={"exact_items": 1 if probes else 1000}), str(folder), EVERYTHING, key)
        found.append((rows(small.shop_dsn, "SELECT s.item_id, s.item_ids FROM recs.similar_items s JOIN analytics.publication USING (publication_id) ORDER BY 1"),
                      rows(small.shop_dsn, "SELECT user_id, context, scope, rank, item_id, reason, because_item_id FROM analytics.user_lists ORDER BY 1, 2, 3, 4"),
                      rows(small.shop_dsn, "SELECT c.user_id, c.others, c.bought, c.items FROM recs.user_candidates c JOIN analytics.publication USING (publication_id) ORDER BY 1"),
                      rows(small.shop_dsn, "SELECT rule, lists FROM analytics.rule_effects ORDER BY 1")))
    assert found[0] == found[1]
    alike, lists, _, counted = found[0]
    assert len(alike) >= ITEMS
    assert {context for _, context, *_ in lists} == {"home", "basket", "email", "again", "category"} and "stranger" in {user for user, *_ in lists}
    assert any(name.startswith("new") for *_, name, _, _ in lists) and sum(count > 0 for _, count in counted) >= 6


def test_a_rule_for_one_context_leaves_the_others_alone(small, model):
    run(small, model, PLAIN + '[contexts.email]\n[[rules]]\nname = "x"\ndo = "include"\nbrand = "B4"\ncontexts = ["email"]\n')
    assert lists(small)["u0"] == best(6)
    assert lists(small, "email")["u0"] == [name for name in best(40) if int(name[1:]) % 5 == 4][:6]


def test_segments_have_their_own_catalogue(small, model):
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("""UPDATE core.events SET context = '{"country": "DE"}' WHERE user_id IN ('u1', 'u2')""")
    run(small, model, PLAIN + '[[rules]]\nname = "not in Germany"\ndo = "exclude"\nbrand = "B0"\nsegments = ["DE"]\n')
    found = lists(small)
    assert found["u1"] == found["u2"] == [name for name in best(40) if int(name[1:]) % 5][:6]
    assert found["u3"] == best(6)
    assert dict(rows(small.shop_dsn, "SELECT rule, lists FROM analytics.rule_effects"))["not in Germany"] == 2
    assert rows(small.shop_dsn, "SELECT DISTINCT segment FROM analytics.popular_items ORDER BY 1") == [("",), ("DE",)]


def test_popular_products_are_what_most_people_bought_in_each_window_segment_and_category(small, model):
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("""UPDATE core.events SET context = '{"country": "DE"}' WHERE user_id IN ('u1', 'u2', 'u5') AND event_day > '2017-03-11'""")
    run(small, model)
    had, buyers = {name for name, in rows(small.shop_dsn, "SELECT item_id FROM core.items WHERE in_stock AND NOT deleted")}, {}
    for user, name, age, segment in rows(small.shop_dsn, f"SELECT user_id, item_id, '{DAY}'::date - event_day, context ->> 'country' FROM core.events"):
        number = int(name[1:])
        for key in ((part, days, shelf) for part in {"", segment or ""} for days in (1, 7, 28) if age < days for shelf in ("", f"AISLE {number % 4}/SHELF {number % 8}") if name in had):
            buyers.setdefault(key, {}).setdefault(name, set()).add(user)
    expected = [(*key, *zip(*sorted(((name, len(users)) for name, users in found.items()), key=lambda pair: (-pair[1], pair[0])), strict=True)) for key, found in buyers.items()]
    found = rows(small.shop_dsn, "SELECT segment, days, category, item_ids, buyers FROM recs.popular_items")
    assert sorted((segment, days, shelf, tuple(names), tuple(counts)) for segment, days, shelf, names, counts in found) == sorted(expected)
    assert {segment for segment, *_ in expected} == {"", "DE"} and len(expected) > 20


def test_who_bought_the_one_never_sees_the_other(small, model):
    run(small, model, PLAIN + '[[rules]]\nname = "pair"\ndo = "block"\nwhen_bought = {item = "i07"}\ncategory = "AISLE 0"\n')
    bought = {user for user, name in rows(small.shop_dsn, "SELECT DISTINCT user_id, item_id FROM core.events") if name == "i07"}
    assert bought and {user for user, names in lists(small).items() if "i00" not in names} == bought


@pytest.mark.parametrize(("again", "gone"), [("always", False), ("never", True), ("3", True), ("400", True), ("1", False)])
def test_what_was_bought_comes_again_when_the_shop_says_so(small, model, again, gone):
    """u0 bought i00 ten days ago, u4 bought i04 then and i20 six days ago; nothing was bought on the last two days."""
    value = again if again.isdigit() else f'"{again}"'
    run(small, model, PLAIN + f'[[repeat]]\ncategory = "AISLE 0"\nagain = {value}\n')
    assert ("i00" in lists(small)["u0"]) == (again in ("always", "3", "1"))
    assert ("i04" in lists(small)["u4"]) == (again in ("always", "3", "1"))
    assert gone or lists(small)["u0"] == best(6)


def test_the_setting_excludes_what_was_bought_everywhere(small, model):
    run(small.model_copy(update={"exclude_bought": True}), model)
    bought = set(rows(small.shop_dsn, "SELECT DISTINCT user_id, item_id FROM core.events"))
    assert not bought & {(user, name) for context in ("home", "again", "basket", "category", "email") for user, names in lists(small, context).items() for name in names}
    assert lists(small, "again") == {}


def test_what_was_seen_lately_waits(small, model):
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("""INSERT INTO core.events (event_day, event_id, event_time, user_id, event_type, item_id)
                          VALUES ('2017-03-17', 'x', '2017-03-17 12:00Z', 'u1', 'impression', 'i00'), ('2017-03-10', 'y', '2017-03-10 12:00Z', 'u1', 'click', 'i01')""")
    run(small, model, PLAIN + '[[repeat]]\nafter = "seen"\nbrand = ["B0", "B1"]\nagain = 7\n')
    assert lists(small)["u1"] == best(6, ["i00"]) and lists(small)["u2"] == best(6)


def test_contexts_are_recipes_over_the_same_scores(small, model):
    run(small, model)
    bought = {}
    for user, name in rows(small.shop_dsn, "SELECT DISTINCT user_id, item_id FROM core.events"):
        bought.setdefault(user, set()).add(name)
    available = set(best(40))
    assert {user: set(names) for user, names in lists(small, "again").items()} == {user: names & available for user, names in bought.items() if names & available}
    assert all(not set(names) & bought[user] for user, names in lists(small, "email").items()) and len(lists(small, "email")) == 8
    scopes = rows(small.shop_dsn, "SELECT user_id, scope, category FROM analytics.user_lists WHERE context = 'category'")
    assert all(scope == category for _, scope, category in scopes) and len({(user, scope) for user, scope, _ in scopes}) == 24


def test_a_short_list_is_filled_and_says_so(small, model):
    run(small, model, PLAIN + 'minimum = 4\n[[rules]]\nname = "two"\ndo = "cap"\nper = "category"\nat_most = 2\ncategory = "AISLE 0"\n'
                              '[[rules]]\nname = "only"\ndo = "include"\ncategory = ["AISLE 0/SHELF 0"]\ncontexts = ["home"]\n'.replace('\ncontexts = ["home"]', ""))
    assert {len(names) for names in lists(small).values()} == {4}


def test_new_products_are_drawn_with_a_logged_probability(small, model):
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.item_history SET valid_from = '2017-03-15' WHERE item_id >= 'i30'")
    run(small, model, PLAIN + "explore = 0.34\n")
    drawn = rows(small.shop_dsn, "SELECT user_id, rank, item_id, reason, propensity FROM analytics.user_lists WHERE propensity < 1 ORDER BY 1, 2")
    assert [(user, rank) for user, rank, *_ in drawn] == [(f"u{u}", rank) for u in range(8) for rank in (3, 6)]
    assert all(name >= "i30" and reason == "new" and 0 < p < 1 for _, _, name, reason, p in drawn)
    assert len({name for _, _, name, _, _ in drawn}) > 3
    run(small, model, PLAIN + "explore = 0.34\n", key="again")
    assert rows(small.shop_dsn, "SELECT user_id, rank, item_id, reason, propensity FROM analytics.user_lists WHERE propensity < 1 ORDER BY 1, 2") == drawn


def test_a_product_that_the_model_never_saw_takes_the_place_that_its_text_says(small, model, monkeypatch):
    from ecomrec.recommend import catalogue as module

    like_i00 = np.eye(ITEMS, dtype=np.float32)[:1]
    monkeypatch.setattr(module, "_encode", lambda texts, *_: np.repeat(like_i00, len(texts), axis=0))
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO core.items (item_id, title, category, updated_at, loaded_day) VALUES ('new', 'thing like 0', 'AISLE 0/SHELF 0', '2017-03-19', '2017-03-19')")
    plan = run(small, model, PLAIN)
    assert lists(small)["u0"] == ["i00", "new", *best(40)[1:5]]
    served = publication.partition("served_items", plan["publication_id"])
    (first, parts), = rows(small.shop_dsn, f"SELECT lenders[1], parts FROM {served} WHERE item_id = 'new'")
    assert first == 0 and parts[0] > 0.9 and sum(parts) == pytest.approx(1, abs=1e-5)
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {served} SET lenders = NULL")
    with connect(small.shop_dsn) as connection, pytest.raises(AuditFailed, match="earlier release") as refused:
        module.read(connection, loading.load(Path(model)), plan["publication_id"])
    assert "prepare" in refused.value.remedy


@pytest.fixture
def read_by(small, tmp_path):
    """A model whose item vectors a small encoder made, as `(folder of the encoder, function of the manifest's facts that saves the model)`; one product is new, with the text of i07."""
    encoder = str(tiny.encoder(tmp_path / "old", ["thing", "aisle", "shelf"]))
    vectors = encode([describe(*row[1:4]) for row in catalogue()], encoder, recipe()["text"]["max_length"])
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO core.items (item_id, title, category, brand, updated_at, loaded_day) VALUES ('new', 'thing 7', 'AISLE 3/SHELF 7', 'B2', '2017-03-19', '2017-03-19')")
    return encoder, lambda **facts: save_model(tmp_path / "model", vectors, **facts)


@pytest.mark.parametrize("size", [16, 32])
def test_new_products_are_placed_by_the_encoder_that_the_model_was_trained_with(small, tmp_path, read_by, size):
    encoder, save = read_by
    model = save(encoder=encoder)
    later = small.model_copy(update={"encoder": str(tiny.encoder(tmp_path / "later", ["thing"], size, seed=5))})
    plan = run(later, model, PLAIN)
    ((vector,),) = rows(small.shop_dsn, f"SELECT vector::text FROM {publication.partition('served_items', plan['publication_id'])} WHERE item_id = 'new'")
    assert np.allclose(json.loads(vector), loading.load(Path(model)).item_vectors[7], atol=1e-3)


def test_an_encoder_of_the_model_that_is_gone_is_named_beside_that_of_the_settings(small, tmp_path, read_by):
    gone, later = str(tmp_path / "gone"), read_by[0]
    with pytest.raises(SettingsError, match=f"{gone}.*ECOMREC_ENCODER={later}") as refused:
        run(small.model_copy(update={"encoder": later}), read_by[1](encoder=gone), PLAIN)
    assert "install" in refused.value.remedy and "train anew" in refused.value.remedy


def test_a_manifest_that_names_no_encoder_means_that_of_the_settings_and_another_size_is_told(small, tmp_path, read_by):
    encoder, save = read_by
    model = save()
    run(small.model_copy(update={"encoder": encoder}), model, PLAIN)
    other = str(tiny.encoder(tmp_path / "later", [], 16))
    with pytest.raises(EcomrecError, match=f"have 32 numbers, those of the encoder {other} have 16") as refused:
        run(small.model_copy(update={"encoder": other}), model, PLAIN, key="later")
    assert "ECOMREC_ENCODER" in refused.value.remedy


def test_diversity_changes_the_mix_and_keeps_the_best_first(small, model):
    run(small, model, PLAIN + "diversity = 0.8\n")
    found = lists(small)["u0"]
    assert found[0] == "i00" and {int(name[1:]) % 4 for name in found[:4]} == {0, 1, 2, 3}


def test_reasons_are_told_in_two_languages(small, model):
    run(small, model)
    texts = rows(small.shop_dsn, "SELECT reason, text_en, text_zh FROM analytics.user_recommendations WHERE user_id = 'u0' AND item_id = 'i00'")
    assert texts == [("bought_again", "You have bought this before (1 times)", "您曾购买过（1 次）")]


def test_scoring_a_shard_again_replaces_it(small, model):
    plan = run(small, model, live=False)
    written = f"SELECT * FROM {publication.partition('user_recommendations', plan['publication_id'])} ORDER BY user_id, context, scope"
    before = rows(small.shop_dsn, written)
    score_shard(small, plan, plan["shards"][0], model)
    assert rows(small.shop_dsn, written) == before != []


@pytest.mark.parametrize(("toml", "says"), [
    ("candidates = 50", "contexts"),
    ("[contexts.home]\ndiversty = 1", "contexts, home, diversty: unknown key"),
    ("[contexts.email]", "contexts.home is missing"),
    ('[contexts.home]\n[[rules]]\nname = "a"\ndo = "exclude"', "rule 'a'.*say which items"),
    ('[contexts.home]\n[[rules]]\nname = "a"\ndo = "forbid"\nbrand = "x"', "rule 'a', do"),
    ('[contexts.home]\n[[rules]]\nname = "a"\ndo = "boost"\nbrand = "x"', "rule 'a'.*needs `strength`"),
    ('[contexts.home]\n[[rules]]\nname = "a"\ndo = "exclude"\nbrand = "x"\nfrom = 2017-02-01\nto = 2017-01-01', "rule 'a'.*never"),
    ('[contexts.home]\n[[rules]]\nname = "a"\ndo = "exclude"\nprice_from = 3\nprice_to = 2', "rule 'a'.*no price"),
    ('[contexts.home]\n[[rules]]\nname = "a"\ndo = "pin"\nitem = "i00"\nplace = 99', "pins place 99, but a list of home has"),
    ('[contexts.home]\n[[rules]]\nname = "a"\ndo = "exclude"\nbrand = "x"\ncontexts = ["mail"]', "the context 'mail'"),
    ('[contexts.home]\n[[rules]]\nname = "a"\ndo = "exclude"\nbrand = "x"\n[[rules]]\nname = "a"\ndo = "exclude"\nbrand = "y"', "two rules have the name"),
    ("[contexts.home", "is not TOML"),
])
def test_a_broken_rules_file_is_named(tmp_path, shop, toml, says):
    path = tmp_path / "rules.toml"
    path.write_text(toml)
    with pytest.raises(SettingsError, match=f"(?s)rules.toml.*{says}"):
        rules.load(shop.model_copy(update={"rules": path}))


@pytest.mark.parametrize(("rule", "says"), [('category = "AISLE 9"', "category 'AISLE 9'"), ('brand = ["B1", "B9"]', "brand 'B9'"), ('tag = "vegan"', "tag 'vegan'"),
                                            ('category = "AISLE"', "category 'AISLE'"), ('campaign = "easter"', "campaign 'easter'"), ('item = "x"', "item 'x'")])
def test_a_rule_about_what_the_shop_does_not_have_is_named(small, model, rule, says):
    with pytest.raises(SettingsError, match=f"rule 'it': no product has {says}"):
        run(small, model, f'{PLAIN}[[rules]]\nname = "it"\ndo = "exclude"\n{rule}\n')
