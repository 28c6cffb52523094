"""Whom to show which promotion, on a shop where the right answer is known by construction."""

from datetime import date, timedelta

import numpy as np
import pytest

from ecomrec import publication
from ecomrec.database import connect
from ecomrec.errors import SettingsError
from ecomrec.promotions import build, offers, pairs, uplift
from ecomrec.promotions.choose import choose
from tests.shopdata import fill, purchase, rows

DAY = date(2017, 6, 30)
ITEMS = [("soap", "Soap", "HOME/SOAP", "Own", True, False), ("bread", "Bread", "FOOD/BREAD", "Own", True, False)]
PEOPLE = 300  # of each kind; every second one was contacted for the promotion of old
OLD = """[[promotions]]
id = "old"
title = "Soap in March"
from = 2017-03-01
to = 2017-03-28
category = "HOME"
"""
NEW = """[[promotions]]
id = "new"
title = "Soap in July"
from = 2017-06-28
to = 2017-07-20
category = "HOME/SOAP"
"""


def event(user: str, item: str, day: str, kind: str = "purchase", campaign: str | None = None, price: float = 1.0) -> tuple:
    found = purchase(user, item, day, price=price)
    return (found, kind, campaign)


def kinds() -> list[tuple]:
    """Movable users had bought soap once, and buy a lot of it when told; loyal ones buy it every week anyway; others never do. The weeks before July
    are those before March again."""
    events = []
    for number in range(PEOPLE):
        for kind in ("movable", "loyal", "never"):
            user, told = f"{kind}{number:03}", number % 2 == 0
            usual = [("bread", 19, 1), *{"loyal": [("soap", back, 10) for back in (26, 19, 12, 5)], "movable": [("soap", 22, 2)], "never": []}[kind]]
            for eve in (date(2017, 3, 1), date(2017, 7, 1)):
                events += [event(user, what, (eve - timedelta(days=back)).isoformat(), price=price) for what, back, price in usual]
            if kind == "loyal":
                events += [event(user, "soap", f"2017-03-{day:02}", price=10) for day in (3, 10, 17)]
            if told:
                events.append(event(user, "soap", "2017-03-01", "impression", "old"))
                if kind == "movable":
                    events.append(event(user, "soap", "2017-03-04", campaign="old", price=20))
    return events


def load(shop, events: list[tuple]) -> None:
    fill(shop.shop_dsn, ITEMS, [found for found, _, _ in events])
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        for found, kind, campaign in events:
            if kind != "purchase" or campaign:
                cursor.execute("UPDATE core.events SET event_type = %s, context = jsonb_build_object('campaign', %s) WHERE event_id = %s", (kind, campaign, found[1]))


def planned(shop, tmp_path, text: str, key: str = "run", day: date = DAY) -> list[tuple]:
    """(user, promotion, value, uplift, redemption, reason, text, basis) of the live publication."""
    (tmp_path / "promotions.toml").write_text(text)
    settings = shop.model_copy(update={"promotions": tmp_path / "promotions.toml"})
    plan = publication.open_publication(settings, key, day.isoformat(), "recommender/1 (test)")
    build.build(settings, plan["publication_id"], day.isoformat())
    publication.go_live(settings, plan["publication_id"], {"users": 1, "items": 1})
    return rows(shop.shop_dsn, "SELECT user_id, promotion_id, expected_value, uplift, redemption, reason, text_en, basis FROM analytics.user_promotions ORDER BY user_id, rank")


@pytest.fixture
def past(shop):
    load(shop, kinds())
    return shop


def test_those_who_buy_because_of_it_come_first(past, tmp_path):
    found = planned(past, tmp_path, OLD + NEW + f"budget = {PEOPLE}\ncost = 1.0\n")
    assert {row[7] for row in found} == {"uplift"}
    assert len(found) <= PEOPLE
    assert sum(row[0].startswith("movable") for row in found) >= 0.95 * len(found) > 0.9 * PEOPLE
    user, promotion, value, gain, redeemed, reason, text, _ = found[0]
    assert (user, promotion, reason, text) == ("movable000", "new", "buys_these", "On products that you have bought 1 times lately")
    assert gain == pytest.approx(18, abs=6) and redeemed > 0.8 and value == pytest.approx(gain - 1, abs=1e-3)


def test_nobody_is_asked_who_costs_more_than_they_bring(past, tmp_path):
    assert {row[0][:5] for row in planned(past, tmp_path, OLD + NEW + "cost = 8.0\n")} == {"movab"}
    assert planned(past, tmp_path, OLD + NEW + "cost = 100.0\n", "again") == []


def test_twice_is_once_and_what_comes_later_changes_nothing(past, tmp_path):
    text = OLD + NEW
    first = planned(past, tmp_path, text)
    assert planned(past, tmp_path, text, "second") == first
    with connect(past.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS core.events_20170702 PARTITION OF core.events FOR VALUES FROM ('2017-07-02') TO ('2017-07-03')")
        cursor.execute("""INSERT INTO core.events_20170702 (event_day, event_id, event_time, user_id, event_type, item_id, price, quantity, context)
                          SELECT '2017-07-02', 'late' || n, '2017-07-02 12:00Z', 'never' || lpad(n::text, 3, '0'), 'purchase', 'soap', 99, 1, '{"campaign": "new"}' FROM generate_series(0, 99) n""")
    assert planned(past, tmp_path, text, "third") == first


def test_contacts_of_before_count(past, tmp_path):
    with connect(past.shop_dsn) as connection, connection.cursor() as cursor:  # two were shown `new` already; others had their contacts of the month
        cursor.execute("UPDATE core.events SET event_type = 'impression', context = '{\"campaign\": \"new\"}' WHERE user_id IN ('movable001', 'movable003') AND event_day > '2017-06-01' AND item_id = 'bread'")
        cursor.execute("UPDATE core.events SET event_type = 'impression', context = '{\"campaign\": \"mail\"}' WHERE user_id = 'movable005' AND event_day > '2017-06-01' AND item_id = 'bread'")
    found = {row[0] for row in planned(past, tmp_path, "contacts = 1\n" + OLD + NEW + "budget = 12\n")}
    assert len(found) == 10  # twelve in all, two of them used
    everybody = {row[0] for row in planned(past, tmp_path, "contacts = 1\n" + OLD + NEW, "again")}
    assert "movable007" in everybody and not everybody & {"movable001", "movable003", "movable005"}


def test_without_a_past_it_goes_by_what_is_bought(shop, tmp_path):
    load(shop, [event("a", "soap", "2017-06-20"), event("b", "soap", "2017-06-20"), event("b", "bread", "2017-06-20"), event("c", "bread", "2017-06-20")])
    found = planned(shop, tmp_path, NEW)
    assert [(row[0], row[1], round(row[2], 2), row[7]) for row in found] == [("a", "new", 1.0, "affinity"), ("b", "new", 0.5, "affinity")]


def test_without_promotions_there_is_nothing_to_show(shop, tmp_path):
    load(shop, [event("a", "soap", "2017-06-20")])
    assert planned(shop, tmp_path, "") == []
    assert offers.load(shop) == offers.Offers()
    assert planned(shop, tmp_path, OLD, "ended") == []


def test_one_user_gets_so_many_and_the_best_of_them(shop, tmp_path):
    load(shop, [event("a", "soap", "2017-06-20", price=3), event("a", "bread", "2017-06-20", price=1)])
    bread = NEW.replace('"new"', '"bread"').replace("HOME/SOAP", "FOOD")
    both = NEW.replace('"new"', '"both"').replace('"HOME/SOAP"', '["HOME", "FOOD"]')
    assert [row[1] for row in planned(shop, tmp_path, "per_user = 2\n" + bread + both + NEW)] == ["both", "new"]


@pytest.mark.parametrize(("text", "said"), [
    (NEW.replace("2017-07-20", "2017-06-20"), "promotion 'new': it would run from 2017-06-28 to 2017-06-20: never"),
    (NEW + NEW, "the id 'new' stands there twice"),
    (NEW.replace('category = "HOME/SOAP"\n', ""), "promotion 'new': it covers nothing"),
    (NEW + "price = 3\n", "promotion 'new', price: Extra inputs are not permitted"),
    (NEW + "cost = -1\n", "promotion 'new', cost"),
    (NEW.replace('id = "new"\n', ""), "promotion 1, id: Field required"),
    ("[[promotions", "promotions.toml"),
    ("promotions = [3]", "promotion 1"),
])
def test_what_cannot_be_is_refused_by_name(tmp_path, text, said):
    (tmp_path / "promotions.toml").write_text(text)
    with pytest.raises(SettingsError) as error:
        offers.read(tmp_path / "promotions.toml")
    assert said in error.value.message
    assert "docs/promotions.md" in error.value.remedy


def test_a_running_promotion_that_covers_nothing_is_named(shop, tmp_path):
    load(shop, [event("a", "soap", "2017-06-20")])
    with pytest.raises(SettingsError, match="'new' covers no product of the catalogue: category 'TOYS'"):
        planned(shop, tmp_path, NEW.replace("HOME/SOAP", "TOYS"))


def test_caps_and_budgets_hold_and_the_best_pairs_are_taken():
    random = np.random.default_rng(1)
    users, promotions = np.repeat(np.arange(50), 4), np.tile(np.arange(4), 50)
    value, room, budget = random.normal(size=200), random.integers(0, 3, 50), np.array([5, 0, 30, 1000])
    taken = choose(users, promotions, value, room, budget)
    assert (np.bincount(users[taken], minlength=50) <= room).all() and (np.bincount(promotions[taken], minlength=4) <= budget).all()
    assert (value[taken] > 0).all()
    free = ~taken & (value > 0) & (np.bincount(users[taken], minlength=50)[users] < room[users]) & (np.bincount(promotions[taken], minlength=4)[promotions] < budget[promotions])
    assert not free.any()
    assert choose(users, promotions, value, np.full(50, 4), np.full(4, 50)).sum() == (value > 0).sum()


def test_the_estimate_is_right_where_contacts_depend_on_the_user():
    """Spenders are contacted more often; what a contact adds is 5 for one half and nothing for the other. The plain difference would say more than 15."""
    random = np.random.default_rng(2)
    features = np.zeros((20_000, 11), dtype=np.float32)
    features[:, 2], features[:, 3] = random.random(20_000), random.random(20_000) < 0.5
    contacted = random.random(20_000) < 0.1 + 0.8 * features[:, 2]
    spent = 50 * features[:, 2] + 5 * contacted * features[:, 3] + random.normal(size=20_000)
    given = pairs.Pairs(np.array([f"u{number}" for number in range(20_000)]), np.zeros(20_000, int), features, contacted, contacted, spent, np.zeros(20_000, int))
    found = uplift.pseudo_outcomes(given, 1)
    assert spent[contacted].mean() - spent[~contacted].mean() > 15
    assert found[features[:, 3] == 1].mean() == pytest.approx(5, abs=0.5) and found[features[:, 3] == 0].mean() == pytest.approx(0, abs=0.5)
