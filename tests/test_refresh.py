"""A refresh gives the lists of a full run, whatever changed; and takes readers from one whole publication to the next."""

import pytest

from ecomrec.database import connect
from ecomrec.errors import AuditFailed, InputError
from ecomrec.recommend import refresh
from ecomrec.recommend.related import build as build_related
from tests.shopdata import rows
from tests.test_recommend import model, run, small  # noqa: F401 - fixtures of the same small shop

LISTS = "SELECT user_id, context, scope, rank, item_id, score, reason, because_item_id, evidence FROM analytics.user_lists ORDER BY 1, 2, 3, 4"
VERSION = "recommender/1 (test)"
CHANGES = {"gone": "UPDATE core.items SET in_stock = false WHERE item_id IN ('i00', 'i11')",
           "deleted": "UPDATE core.items SET deleted = true WHERE item_id = 'i01'",
           "back": "UPDATE core.items SET in_stock = true WHERE item_id = 'i03'",
           "moved": "UPDATE core.items SET category = 'AISLE 3/SHELF 3' WHERE item_id = 'i02'",
           "gone and back": "UPDATE core.items SET in_stock = (item_id <> 'i00') WHERE item_id IN ('i00', 'i03')"}


def change(settings, statement):
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


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
    small = small.model_copy(update={"list_length": 3})
    path = small.home / "few.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("candidates = 10\nreserve = 2\n[contexts.home]\n")
    small = small.model_copy(update={"rules": path})
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
