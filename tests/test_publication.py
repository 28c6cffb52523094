"""A publication goes live whole or not at all, and the one before it stays for rollback."""

import contextlib
import threading

import psycopg2
import pytest

from ecomrec import profiles, publication
from ecomrec.database import connect, execute
from ecomrec.errors import AuditFailed
from ecomrec.promotions import build as promotions
from ecomrec.rollback import roll_back
from tests.shopdata import fill, purchase, rows

DAY = "2017-03-10"
ITEMS = [("i1", "Apples", "FRUIT/APPLES", "Own", True, False), ("i2", "Pears", "FRUIT/PEARS", None, True, False),
         ("i3", "Quinces", "FRUIT/QUINCES", None, False, False)]
EVENTS = [purchase("ann", "i1", "2017-03-01", price=2, quantity=3), purchase("ann", "i1", "2017-03-05"), purchase("ann", "i2", "2017-03-05"),
          purchase("bob", "i2", "2017-03-10"), purchase("eve", "i1", "2017-03-10", kind="click")]


@pytest.fixture
def filled(shop):
    fill(shop.shop_dsn, ITEMS, EVENTS)
    return shop


def build(settings, key="run-1", lists=None, model="recommender/1 (test)"):
    """A publication whose lists are given: user -> items."""
    plan = publication.open_publication(settings, key, DAY, model)
    lists = {"ann": ["i1", "i2"], "bob": ["i2", "i1"]} if lists is None else lists
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        for user, items in lists.items():
            cursor.execute(f"INSERT INTO {publication.partition('user_recommendations', plan['publication_id'])} VALUES (%s, 0, %s, %s, %s, %s::recs.reason[], %s, %s)",
                           (plan["publication_id"], user, items, [1.0 / (n + 1) for n in range(len(items))], ["popular"] * len(items), [""] * len(items),
                            plan["model_version"]))
    profiles.build(settings, plan["publication_id"], DAY)
    return plan


def publish(settings, **given):
    plan = build(settings, **given)
    publication.go_live(settings, plan["publication_id"], publication.audit(settings, plan["publication_id"], DAY))
    return plan


def test_nothing_is_visible_before_and_everything_after(filled):
    plan = build(filled)
    assert rows(filled.shop_dsn, "SELECT * FROM analytics.user_recommendations") == []
    found = publication.audit(filled, plan["publication_id"], DAY)
    assert (found["users"], found["expected_users"], found["profiles"], found["items"]) == (2, 2, 2, 2)
    publication.go_live(filled, plan["publication_id"], found)
    assert rows(filled.shop_dsn, "SELECT user_id, rank, item_id, title, reason FROM analytics.user_recommendations ORDER BY 1, 2") == [
        ("ann", 1, "i1", "Apples", "popular"), ("ann", 2, "i2", "Pears", "popular"), ("bob", 1, "i2", "Pears", "popular"), ("bob", 2, "i1", "Apples", "popular")]


def test_profiles_say_what_was_bought(filled):
    publish(filled)
    assert rows(filled.shop_dsn, "SELECT user_id, orders, items_bought, distinct_items, spend, average_order, days_between, days_since_last, lifecycle, "
                                 "top_categories, top_brands FROM analytics.user_profiles ORDER BY 1") == [
        ("ann", 2, 3, 2, 8.0, 4.0, 4.0, 5, "new", ["FRUIT/APPLES", "FRUIT/PEARS"], ["Own"]),
        ("bob", 1, 1, 1, 1.0, 1.0, None, 0, "new", ["FRUIT/PEARS"], [])]


def test_a_second_publication_replaces_the_first_which_is_kept(filled):
    first, second = publish(filled), publish(filled, key="run-2", lists={"ann": ["i2"], "bob": ["i1"]})
    assert rows(filled.shop_dsn, "SELECT user_id, item_id FROM analytics.user_recommendations ORDER BY 1") == [("ann", "i2"), ("bob", "i1")]
    states = dict(rows(filled.shop_dsn, "SELECT publication_id, state FROM ops.publications"))
    assert states == {first["publication_id"]: "superseded", second["publication_id"]: "live"}
    assert len(rows(filled.shop_dsn, "SELECT FROM recs.user_recommendations")) == 4


def test_going_live_twice_is_once_and_a_rerun_gives_the_same_rows(filled):
    plan = publish(filled)
    before = rows(filled.shop_dsn, "SELECT user_id, rank, item_id, score FROM analytics.user_recommendations ORDER BY 1, 2")
    publication.go_live(filled, plan["publication_id"], {"users": 2, "items": 2})
    again = publish(filled)  # the same run cleared and run again
    assert again["publication_id"] != plan["publication_id"]
    assert rows(filled.shop_dsn, "SELECT user_id, rank, item_id, score FROM analytics.user_recommendations ORDER BY 1, 2") == before


def test_a_killed_run_goes_on_in_the_same_publication(filled):
    plan = build(filled)
    assert build(filled)["publication_id"] == plan["publication_id"]
    assert publication.audit(filled, plan["publication_id"], DAY)["users"] == 2


@pytest.mark.parametrize(("lists", "what"), [
    ({"ann": ["i1"]}, "users = 1, expected 2"),
    ({"ann": ["i1"], "bob": []}, "empty_lists = 1"),
    ({"ann": ["i1", "i1"], "bob": ["i1"]}, "duplicates = 1"),
    ({"ann": ["i3"], "bob": ["i1"]}, "unavailable_items = 1"),
    ({"ann": ["nonsense"], "bob": ["i1"]}, "unavailable_items = 1"),
])
def test_a_bad_publication_never_goes_live(filled, lists, what):
    live = publish(filled)
    bad = build(filled, key="bad", lists=lists)
    with pytest.raises(AuditFailed, match=what):
        publication.audit(filled, bad["publication_id"], DAY)
    assert rows(filled.shop_dsn, "SELECT publication_id, state FROM ops.publications ORDER BY 1") == [
        (live["publication_id"], "live"), (bad["publication_id"], "failed")]
    assert len(rows(filled.shop_dsn, "SELECT FROM analytics.user_recommendations")) == 4


def test_pruning_keeps_the_newest_and_drops_failed_ones(filled):
    settings = filled.model_copy(update={"publications_kept": 2})
    plans = [publish(settings, key=f"run-{number}") for number in range(4)]
    with pytest.raises(AuditFailed):
        publication.audit(settings, build(settings, key="bad", lists={})["publication_id"], DAY)
    assert publication.prune(settings) == 3
    assert publication.prune(settings) == 0
    kept = {number for (number,) in rows(settings.shop_dsn, "SELECT DISTINCT publication_id FROM recs.user_recommendations")}
    assert kept == {plan["publication_id"] for plan in plans[-2:]}


def test_readers_never_see_half(filled):
    publish(filled)
    seen, stop = set(), threading.Event()

    def read():
        with contextlib.closing(psycopg2.connect(filled.shop_dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not stop.is_set():
                cursor.execute("SELECT user_id, item_id FROM analytics.user_recommendations ORDER BY user_id, rank")
                seen.add(tuple(cursor.fetchall()))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    small = filled.model_copy(update={"publications_kept": 2})
    for number in range(14):
        publish(small, key=f"run-{number}", lists={"ann": ["i2"], "bob": ["i2"]} if number % 2 else None)
        publication.prune(small)
    stop.set()
    for reader in readers:
        reader.join()
    assert seen <= {(("ann", "i1"), ("ann", "i2"), ("bob", "i2"), ("bob", "i1")), (("ann", "i2"), ("bob", "i2"))}
    assert len(seen) == 2


def test_an_older_day_takes_no_reader_back_but_by_hand(filled):
    live = publish(filled)
    older = build(filled, key="late files")
    found = publication.audit(filled, older["publication_id"], DAY)
    with connect(filled.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE ops.publications SET day = day - 7 WHERE publication_id = %s", (older["publication_id"],))
    with pytest.raises(AuditFailed, match=f"publication {live['publication_id']} of the later day {DAY} is live"):
        publication.go_live(filled, older["publication_id"], found)
    assert (publication.day_to_publish(filled, "2001-01-01"), publication.day_to_publish(filled, "2099-01-01")) == (DAY, "2099-01-01")
    publication.go_live(filled, older["publication_id"], found, older=True)
    assert rows(filled.shop_dsn, "SELECT publication_id FROM ops.publications WHERE state = 'live'") == [(older["publication_id"],)]


def test_what_was_mended_after_its_audit_goes_live_and_nothing_else_says_that_it_did(filled):
    bad = build(filled, lists={"ann": ["i1"]})
    with pytest.raises(AuditFailed, match="users = 1, expected 2"):
        publication.audit(filled, bad["publication_id"], DAY)
    with pytest.raises(AuditFailed, match="its audit refused it"):
        publication.go_live(filled, bad["publication_id"], {"users": 1, "items": 1})
    with connect(filled.shop_dsn) as connection, connection.cursor() as cursor:  # the shard is run again
        cursor.execute(f"CREATE TEMPORARY TABLE his AS SELECT * FROM {(mine := publication.partition('user_recommendations', bad['publication_id']))}; UPDATE his SET user_id = 'bob'; INSERT INTO {mine} SELECT * FROM his")
    publication.go_live(filled, bad["publication_id"], publication.audit(filled, bad["publication_id"], DAY))
    assert len(rows(filled.shop_dsn, "SELECT FROM analytics.user_recommendations")) == 2


def test_what_became_live_since_it_was_listed_is_not_dropped(filled):
    first = publish(filled)
    publish(filled, key="run-2")
    assert not publication.drop(filled, first["publication_id"], only_outdated=True), "kept for a roll-back"
    assert len(rows(filled.shop_dsn, "SELECT FROM recs.user_recommendations")) == 4


def test_shards_hold_every_user_once(filled):
    shards = publication.open_publication(filled.model_copy(update={"shard_users": 1}), "s", DAY, "v")["shards"]
    assert shards == [{"shard": 0, "first_user": "ann", "next_user": "bob"}, {"shard": 1, "first_user": "bob", "next_user": None}]


def test_the_analyst_reads_views_and_nothing_else(filled):
    publish(filled)
    with connect(filled.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SET ROLE ecomrec_analyst")
        cursor.execute("SELECT count(*) FROM analytics.user_recommendations")
        assert cursor.fetchone() == (4,)
        with pytest.raises(Exception, match="permission denied"):
            cursor.execute("SELECT * FROM recs.user_recommendations")
        connection.rollback()


@pytest.mark.parametrize("state", ["live", "superseded", "withdrawn"])
def test_a_task_that_is_cleared_in_the_middle_of_a_finished_run_touches_nothing(filled, state):
    first, second = publish(filled, key="one")["publication_id"], publish(filled, key="two")["publication_id"]
    number = first if state == "superseded" else second
    if state == "withdrawn":
        roll_back(filled, "publication", "a broken day", actor="eve")
    before = rows(filled.shop_dsn, f"SELECT * FROM {publication.partition('user_profiles', number)} ORDER BY user_id")
    with connect(filled.shop_dsn) as connection, connection.cursor() as cursor:  # its day was loaded again meanwhile, with a buyer less
        cursor.execute("DELETE FROM core.events WHERE user_id = 'bob'")
    for step in (profiles.build, promotions.build, publication.audit):
        with pytest.raises(AuditFailed, match=f"is {state} already"):
            step(filled, number, DAY)
    with connect(filled.shop_dsn) as connection:
        execute(connection, "publish/fail", {"publication_id": number, "audit": "{}"})  # an audit that began before it went live
    assert rows(filled.shop_dsn, "SELECT state FROM ops.publications WHERE publication_id = %s", number) == [(state,)]
    assert rows(filled.shop_dsn, f"SELECT * FROM {publication.partition('user_profiles', number)} ORDER BY user_id") == before


def test_every_table_and_view_is_commented(shop):
    assert rows(shop.shop_dsn, """
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('core', 'recs', 'ops', 'analytics') AND c.relkind IN ('r', 'p', 'v') AND c.relname <> 'migrations'
          AND obj_description(c.oid) IS NULL""") == []


def test_every_column_that_analysts_see_is_commented(shop):
    assert rows(shop.shop_dsn, """
        SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND coalesce(col_description(c.oid, a.attnum), '') = ''""") == []
