"""With ECOMREC_RESCORE_DAYS a user about whom nothing is new keeps their lists; everybody else's are made again."""

import pytest

from ecomrec import profiles, publication
from ecomrec.database import connect
from ecomrec.recommend import catalogue as catalogues
from ecomrec.recommend.related import build as build_related
from ecomrec.recommend.shard import prepare, score_shard
from tests.shopdata import arrive, fill, like, purchase, rows
from tests.test_recommend import EVENTS, ITEMS, catalogue, item, save_model
from tests.test_refresh import published, refreshed

FIRST, SECOND = "2017-03-20", "2017-03-21"
USERS = {f"u{n}" for n in range(8)}
RULES = '[contexts.home]\nminimum = 2\n[contexts.again]\nsource = "bought"\n'


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model")


@pytest.fixture
def small(shop):
    fill(shop.shop_dsn, catalogue(), EVENTS)
    path = shop.home / "rules.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RULES, encoding="utf-8")
    return shop.model_copy(update={"list_length": 6, "rescore_days": 7, "rules": path, "exclude_bought": False})


def run(settings, model, day, version="recommender/1 (test)") -> dict:
    """A live publication of `day`; returns what its only shard did, with its publication_id."""
    plan = publication.open_publication(settings, f"run {day} {version}", day, version)
    plan["keep_from"] = prepare(settings, plan, model)["keep_from"]
    build_related(settings, plan, model)
    [done] = [score_shard(settings, plan, shard, model) for shard in plan["shards"]]
    profiles.build(settings, plan["publication_id"], day)
    publication.go_live(settings, plan["publication_id"], publication.audit(settings, plan["publication_id"], day))
    return {**done, "publication_id": plan["publication_id"]}


def scored(settings) -> dict[str, str]:
    return dict(rows(settings.shop_dsn, "SELECT user_id, scored_day::text FROM recs.user_candidates JOIN analytics.publication USING (publication_id)"))


def lists(settings, publication_id: int) -> list[tuple]:
    return rows(settings.shop_dsn, "SELECT user_id, context, scope, item_ids, scores, reasons, because, evidence FROM recs.user_recommendations WHERE publication_id = %s ORDER BY 1, 2, 3",
                publication_id)


def later(settings, *events) -> None:
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        for day in sorted({event[0] for event in events}):
            cursor.execute(f"CREATE TABLE IF NOT EXISTS core.events_{day.replace('-', '')} PARTITION OF core.events FOR VALUES FROM ('{day}') TO ('{day}'::date + 1)")
        cursor.executemany("INSERT INTO core.events (event_day, event_id, event_time, user_id, session_id, event_type, item_id, price, quantity) "
                           "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", list(events))


def test_only_who_did_something_is_scored_again(small, model):
    first = run(small, model, FIRST)
    later(small, purchase("u3", item(20), SECOND), purchase("u9", item(1), SECOND))
    second = run(small, model, SECOND)
    assert (first["users"], first["kept"], second["users"], second["kept"]) == (8, 0, 9, 7)
    assert scored(small) == {**dict.fromkeys(USERS - {"u3"}, FIRST), "u3": SECOND, "u9": SECOND}
    before, after = lists(small, first["publication_id"]), lists(small, second["publication_id"])
    assert [row for row in before if row[0] != "u3"] == [row for row in after if row[0] not in ("u3", "u9")]
    assert [row for row in before if row[0] == "u3"] != [row for row in after if row[0] == "u3"]


def test_the_lists_are_those_of_a_full_run(small, model):
    """Nothing fades in this model: what is kept is what would have been made."""
    run(small, model, FIRST)
    later(small, purchase("u3", item(20), SECOND))
    kept = run(small, model, SECOND)
    full = run(small.model_copy(update={"rescore_days": 0}), model, SECOND, "recommender/1 (again)")
    assert kept["kept"] == 7 and full["kept"] == 0
    assert lists(small, kept["publication_id"]) == lists(small, full["publication_id"])


def test_a_product_that_is_gone_is_on_nobodys_list(small, model):
    run(small, model, FIRST)
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items SET in_stock = false WHERE item_id = %s", (item(0),))
    second = run(small, model, SECOND)
    assert second["kept"] == 0 and not any(item(0) in row[3] for row in lists(small, second["publication_id"]))


@pytest.mark.parametrize("change", ["model", "rules", "age", "late load", "setting"])
def test_all_are_made_again_when(small, model, change):
    run(small, model, FIRST)
    settings, day, version = small, SECOND, "recommender/1 (test)"
    if change == "model":
        version = "recommender/2 (test)"
    elif change == "rules":
        small.rules.write_text(RULES + '[[rules]]\nname = "none of these"\ndo = "exclude"\nbrand = "B1"\n', encoding="utf-8")
    elif change == "age":
        day = "2017-03-27"
    elif change == "setting":
        settings = small.model_copy(update={"rescore_days": 0})
    else:
        with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO ops.loads (kind, day, state, files, rows_read, rows_loaded, rows_rejected, seconds) VALUES ('events', '2017-03-12', 'loaded', 1, 1, 1, 0, 1)")
    assert run(settings, model, day, version)["kept"] == 0
    assert set(scored(small).values()) == {day}


def test_a_purchase_that_leaves_the_window_is_news(small, model):
    settings = small.model_copy(update={"history_days": 11})  # the window of the first day begins on March 10, when everybody bought something
    run(settings, model, FIRST)
    second = run(settings, model, SECOND)
    assert second["kept"] == 0 and second["users"] == 7  # u0 bought on that day alone


@pytest.mark.parametrize("refresh", [False, True])
@pytest.mark.parametrize(("gone", "kept"), [("new1", 0), ("new3", 8)])
def test_lists_are_kept_under_the_numbers_that_products_have_now(small, model, monkeypatch, gone, kept, refresh):
    """Everybody's candidates hold new2, which moves when new1 sells out; nobody's hold new1 and new3."""
    monkeypatch.setattr(catalogues, "_encode", like(ITEMS, new1=39, new2=0, new3=38))
    small.rules.write_text("candidates = 10\nreserve = 2\n" + RULES, encoding="utf-8")
    arrive(small.shop_dsn, "new1", "new2", "new3")
    run(small, model, FIRST)
    with connect(small.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items SET in_stock = false WHERE item_id = %s", (gone,))
    if refresh:
        refreshed(small, model)
    assert run(small, model, SECOND)["kept"] == (8 if refresh else kept)
    found = published(small)
    run(small.model_copy(update={"rescore_days": 0}), model, SECOND, "recommender/1 (again)")
    assert found == published(small)
