"""Each day's purchases are held against the lists that were made before it, and a fall is said aloud."""

import pytest

from ecomrec import outcomes, publication
from ecomrec.database import connect
from tests.shopdata import fill, purchase, rows

EVE, DAY = "2017-03-09", "2017-03-10"


@pytest.fixture
def published(shop):
    """Two people's lists of the eve; on the day one buys of hers, the other something else, a third has no list."""
    fill(shop.shop_dsn, [(f"i{n}", f"Thing {n}", "A/B", None, True, False) for n in range(12)],
         [purchase("ann", "i3", DAY), purchase("ann", "i11", DAY), purchase("bob", "i11", DAY), purchase("eve", "i1", DAY), purchase("ann", "i1", EVE)])
    lists(shop, "run-1", EVE)
    return shop


def lists(shop, key: str, day: str) -> None:
    number = publication.open_publication(shop, key, day, "recommender/1 (test)")["publication_id"]
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        for user in ("ann", "bob"):
            cursor.execute(f"INSERT INTO {publication.partition('user_recommendations', number)} (publication_id, shard, user_id, item_ids, scores, reasons, because, model_version) "
                           "SELECT %s, 0, %s, array_agg('i' || n ORDER BY n), array_agg(1.0::real), array_agg('popular'::recs.reason), array_agg(''::text), 'v' FROM generate_series(0, 11) n", (number, user))
    publication.go_live(shop, number, {"users": 2, "items": 12})


def test_lists_are_held_against_what_was_bought_after_them(published):
    for _ in range(2):
        found = outcomes.watch(published, DAY, lambda line: None)
    assert (found["users"], found["hit_rate"], found["usual"], found["warnings"]) == (2, 0.5, None, [])
    assert rows(published.shop_dsn, "SELECT day::text, made_for::text, days_old, users, hit_users, items, hits FROM analytics.outcomes") == [(DAY, EVE, 1, 2, 1, 3, 1)]
    lists(published, "run-2", DAY)  # made with the day's own purchases: they prove nothing about it
    assert outcomes.watch(published, DAY, lambda line: None)["hit_rate"] == 0.5
    assert rows(published.shop_dsn, "SELECT made_for::text FROM analytics.outcomes") == [(EVE,)]


def test_a_day_without_earlier_lists_has_no_outcome(published):
    assert outcomes.watch(published, EVE, lambda line: None)["hit_rate"] is None


def test_a_fall_below_the_usual_is_said_aloud_and_audited(published, monkeypatch):
    monkeypatch.setattr(outcomes, "FEW_USERS", 2)
    with connect(published.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO ops.outcomes SELECT %s::date - n, (SELECT max(publication_id) FROM ops.publications), 100, 90, 100, 90 FROM generate_series(1, 8) n", (DAY,))
    said = []
    found = outcomes.watch(published, DAY, said.append)
    assert found["usual"] == pytest.approx(0.9) and len(said) == 1 and "only 50.0%" in said[0]
    assert rows(published.shop_dsn, "SELECT subject FROM ops.audit_log WHERE action = 'warn'") == [(f"outcomes {DAY}",)]
