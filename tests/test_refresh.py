"""A refresh gives the lists of a full run, whatever changed; and takes readers from one whole publication to the next."""

import pytest

from ecomrec.database import connect
from ecomrec.errors import AuditFailed, InputError
from ecomrec.recommend import catalogue, refresh
from ecomrec.recommend.related import build as build_related
from tests import tiny
from tests.shopdata import arrive, like, rows
from tests.test_recommend import ITEMS, model, read_by, run, small  # noqa: F401 - fixtures of the same small shop

LISTS = "SELECT user_id, context, scope, rank, item_id, score, reason, because_item_id, evidence FROM analytics.user_lists ORDER BY 1, 2, 3, 4"
CANDIDATES = """SELECT c.user_id, c.others, c.bought, ARRAY(SELECT s.item_id FROM unnest(c.items) WITH ORDINALITY AS u (number, place)
                       LEFT JOIN recs.served_items s ON s.publication_id = c.publication_id AND s.number = u.number ORDER BY u.place), c.scores
                FROM recs.user_candidates c JOIN analytics.publication USING (publication_id) ORDER BY 1"""
VERSION = "recommender/1 (test)"
CHANGES = {"gone": "UPDATE core.items SET in_stock = false WHERE item_id IN ('i00', 'i11')",
           "deleted": "UPDATE core.items SET deleted = true WHERE item_id = 'i01'",
           "back": "UPDATE core.items SET in_stock = true WHERE item_id = 'i03'",
           "moved": "UPDATE core.items SET category = 'AISLE 3/SHELF 3' WHERE item_id = 'i02'",
           "gone and back": "UPDATE core.items SET in_stock = (item_id <> 'i00') WHERE item_id IN ('i00', 'i03')"}


def change(settings, statement, *parameters):
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def few(settings):
    """Settings by which only the ten best are candidates: what is not among them touches nobody who did not buy it."""
    path = settings.home / "few.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("candidates = 10\nreserve = 2\n[contexts.home]\n")
    return settings.model_copy(update={"list_length": 3, "rules": path})


@pytest.fixture
def newer(small, monkeypatch):  # noqa: F811
    """The small shop with three products that the model has not learned: new2 is among everybody's candidates, the others among nobody's."""
    arrive(small.shop_dsn, "new1", "new2", "new3", category="AISLE 1")
    monkeypatch.setattr(catalogue, "_encode", like(ITEMS, new1=39, new2=0, new3=38, new4=1, renamed=20))
    return few(small)


def published(settings) -> tuple:
    return rows(settings.shop_dsn, LISTS), rows(settings.shop_dsn, CANDIDATES)


def refreshed(settings, model_uri, key="refresh", **asked):
    made = refresh.plan(settings, key, VERSION, model_uri, **asked)
    build_related(settings, made, model_uri)
    done = [refresh.refresh_shard(settings, made, shard) for shard in made["shards"]]
    return made, done, refresh.publish(settings, made, "test")


@pytest.mark.parametrize("by_name", [0, 1000])
@pytest.mark.parametrize("what", CHANGES)
def test_a_refresh_equals_a_full_run(small, model, what, by_name, monkeypatch):  # noqa: F811
    monkeypatch.setattr(refresh, "BY_NAME", by_name)
    small = small.model_copy(update={"shard_users": 3})
    run(small, model)
    change(small, CHANGES[what])
    refreshed(small, model)
    lists, related = rows(small.shop_dsn, LISTS), rows(small.shop_dsn, "SELECT * FROM analytics.bought_together ORDER BY 1, 2")
    run(small, model, key="full")
    assert rows(small.shop_dsn, LISTS) == lists and rows(small.shop_dsn, "SELECT * FROM analytics.bought_together ORDER BY 1, 2") == related


def test_only_whom_it_touches_is_scored_again(small, model):  # noqa: F811
    """Nobody's candidates hold i39 when only the ten best are kept, except those who bought it."""
    small = few(small)
    run(small, model)
    change(small, "UPDATE core.items SET in_stock = false WHERE item_id IN ('i39', 'i27')")
    owners = {user for (user,) in rows(small.shop_dsn, "SELECT DISTINCT user_id FROM core.events WHERE item_id IN ('i39', 'i27')")}
    made, done, _ = refreshed(small, model)
    assert made["gone"] == ["i27", "i39"] and not made["everyone"]
    assert sum(part["scored"] for part in done) == len(owners) < 8


def test_only_what_is_asked_for_is_taken(small, model):  # noqa: F811
    run(small, model)
    change(small, "UPDATE core.items SET in_stock = false WHERE item_id IN ('i00', 'i01', 'i02')")
    assert refresh.plan(small, "a", VERSION, model, items=["i00"], dry_run=True)["gone"] == ["i00"]
    assert refresh.plan(small, "b", VERSION, model, category="AISLE 1", dry_run=True)["gone"] == ["i01"]
    assert refresh.plan(small, "c", VERSION, model, since="2030-01-01", dry_run=True)["gone"] == []
    assert refresh.plan(small, "d", VERSION, model, dry_run=True)["gone"] == ["i00", "i01", "i02"]
    assert rows(small.shop_dsn, "SELECT count(*) FROM ops.publications WHERE state = 'live'") == [(1,)]


SOLD_OUT = "UPDATE core.items SET in_stock = false WHERE item_id = %s"


@pytest.mark.parametrize("names", [["new1"], ["new3"], ["new1", "new2"], ["i00", "new1"]])
def test_new_products_that_sell_out_one_after_the_other_leave_what_a_full_run_gives(newer, model, names):  # noqa: F811
    run(newer, model)
    for name in names:
        change(newer, SOLD_OUT, name)
        refreshed(newer, model, key=name)
    found = published(newer)
    run(newer, model, key="full")
    assert found == published(newer) and any("new" in item for *_, items, _ in found[1] for item in items) == ("new2" not in names)


def test_a_new_product_between_others_moves_them(newer, model):  # noqa: F811
    run(newer, model)
    arrive(newer.shop_dsn, "new10", title="new4", category="AISLE 1")
    refreshed(newer, model)
    found = published(newer)
    run(newer, model, key="full")
    assert found == published(newer) and all("new10" in items for *_, items, _ in found[1])


def test_new_products_that_nobody_asked_about_stay_as_the_live_lists_saw_them(newer, model):  # noqa: F811
    run(newer, model)
    before = published(newer)
    change(newer, SOLD_OUT, "i00")
    run(newer, model, key="only i00")
    wanted = published(newer)
    change(newer, "UPDATE core.items SET in_stock = true WHERE item_id = 'i00'")
    run(newer, model, key="before")
    assert published(newer) == before
    change(newer, SOLD_OUT, "i00")
    change(newer, SOLD_OUT, "new1")
    change(newer, "UPDATE core.items SET title = 'renamed' WHERE item_id = 'new2'")
    change(newer, "UPDATE core.items SET deleted = true WHERE item_id = 'new3'")
    arrive(newer.shop_dsn, "new10", title="new4", category="AISLE 1")
    made, *_ = refreshed(newer, model, items=["i00"])
    assert (made["gone"], made["other"]) == (["i00"], []) and published(newer) == wanted
    made, *_ = refreshed(newer, model, key="one of them", items=["new10"])
    assert made["gone"] == [] and "new10" in made["other"] and all("new10" in items for *_, items, _ in published(newer)[1])
    refreshed(newer, model, key="all of them")
    found = published(newer)
    run(newer, model, key="full")
    assert found == published(newer)


def test_a_new_product_is_placed_by_the_encoder_of_the_model_in_service(small, tmp_path, read_by):  # noqa: F811
    encoder, save = read_by
    change(small, "UPDATE core.items SET in_stock = false WHERE item_id = 'new'")
    run(small, uri := save(encoder=encoder))
    change(small, "UPDATE core.items SET in_stock = true WHERE item_id = 'new'")
    later = small.model_copy(update={"encoder": str(tiny.encoder(tmp_path / "later", [], 16))})
    made, *_ = refreshed(later, uri)
    lender = rows(small.shop_dsn, "SELECT lenders[1] FROM recs.served_items WHERE publication_id = %s AND item_id = 'new'", made["publication_id"])
    assert made["other"] == ["new"] and lender == [(7,)]


def test_it_refuses_to_mix(small, model):  # noqa: F811
    with pytest.raises(InputError, match="nothing is live"):
        refresh.plan(small, "a", VERSION, model)
    run(small, model)
    with pytest.raises(InputError, match="the model changed"):
        refresh.plan(small, "a", "recommender/2 (test)", model)
    with pytest.raises(InputError, match="the rules changed"):
        refresh.plan(small.model_copy(update={"list_length": 7}), "a", VERSION, model)


def test_a_publication_that_went_live_meanwhile_stays(small, model):  # noqa: F811
    run(small, model)
    change(small, CHANGES["gone"])
    made = refresh.plan(small, "r", VERSION, model)
    for shard in made["shards"]:
        refresh.refresh_shard(small, made, shard)
    newer = run(small, model, key="newer")
    with pytest.raises(AuditFailed, match="went live while"):
        refresh.publish(small, made)
    assert rows(small.shop_dsn, "SELECT publication_id FROM ops.publications WHERE state = 'live'") == [(newer["publication_id"],)]


def test_a_try_that_was_killed_after_it_went_live_has_only_to_tell_it(small, model):  # noqa: F811
    run(small, model)
    change(small, CHANGES["gone"])
    made, _, live = refreshed(small, model)
    change(small, "DELETE FROM core.events WHERE user_id = (SELECT min(user_id) FROM core.events)")
    lists = rows(small.shop_dsn, LISTS)
    again = refresh.publish(small, made, "test")
    assert (again["publication_id"], again["users"]) == (live["publication_id"], live["users"]) and rows(small.shop_dsn, LISTS) == lists
    with pytest.raises(AuditFailed, match="is live already"):
        refresh.refresh_shard(small, made, made["shards"][0])
