"""Each day's purchases are held against the lists that were made before it, and a fall is said aloud."""

import pytest

from ecomrec import dependencies, outcomes, publication
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


def test_gates_that_look_at_the_wrong_thing_are_found_out(published):
    """Six versions served for a week each: the better before the gates, the fewer people bought of their list."""
    with connect(published.shop_dsn) as connection, connection.cursor() as cursor:
        for version in range(1, 7):
            cursor.execute("INSERT INTO ops.gate_results (family, model_version, gate, verdict, value, sentence, refuses) VALUES ('recommender', %s, 'floor', 'pass', %s, '', false)",
                           (str(version), 0.1 * version))
            number = publication.open_publication(published, f"v{version}", EVE, f"recommender/{version} (sequential)")["publication_id"]
            cursor.execute("INSERT INTO ops.outcomes SELECT date '2016-01-01' + %s * 10 + n, %s, 100, %s, 100, 90 FROM generate_series(1, 8) n", (version, number, 90 - 10 * version))
    found = outcomes.watch(published, DAY, lambda line: None)
    assert found["agreement"] == pytest.approx(-1.0) and "look at the wrong thing" in found["warnings"][-1]
    assert rows(published.shop_dsn, "SELECT model_version, days, round(online::numeric, 2)::float FROM analytics.offline_online ORDER BY 1 LIMIT 1") == [("recommender/1 (sequential)", 8, 0.8)]


def test_a_package_that_changed_since_the_last_training_is_named(shop, monkeypatch):
    said = []
    assert dependencies.watch(shop, said.append) == {} and dependencies.watch(shop, said.append) == {}
    known = dependencies._installed
    monkeypatch.setattr(dependencies, "_installed", lambda name: {"numpy": "1.0", "scipy": None}[name] if name in ("numpy", "scipy") else known(name))
    changed = dependencies.watch(shop, said.append)
    assert changed["numpy"].endswith("→ 1.0") and changed["scipy"].endswith("→ none") and any("numpy 1.0 is installed" in line for line in said)
    assert len(rows(shop.shop_dsn, "SELECT FROM ops.audit_log WHERE action = 'dependencies'")) == 2
