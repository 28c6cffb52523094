"""What a profile says of a user, rows in, rows out; and the audiences of docs/audiences.md run as they stand there."""

import re
from datetime import date, timedelta

import pytest

from ecomrec import profiles, publication
from ecomrec.database import connect
from ecomrec.duck import open_duck
from ecomrec.errors import EcomrecError
from ecomrec.settings import ROOT, Settings
from tests.shopdata import fill, purchase, rows

DAY = date(2017, 6, 30)
BEST = 'Be"st, {\\Co}'  # whatever a shop calls a brand
ITEMS = [("cheap", "Thin soup", "FOOD/SOUP", "Own", True, False), ("dear", "Thick soup", "FOOD/SOUP", BEST, True, False),
         ("bone", "Bone", "PETS/DOGS", "Rex", True, False)]


def ago(days: int) -> str:
    return (DAY - timedelta(days=days)).isoformat()


def shop_events() -> list[tuple]:
    """Forty users order every seventh day, last three days ago; forty did so until ninety days ago; and five of whom more is known."""
    events = [purchase(f"weekly{n:02}", "cheap", ago(3 + 7 * week), price=2) for n in range(40) for week in range(18)]
    events += [purchase(f"gone{n:02}", "cheap", ago(90 + 7 * week), price=2) for n in range(40) for week in range(5)]
    events += [purchase("saver", "dear", ago(10 + n), price=5) for n in range(4)] + [purchase("payer", "dear", ago(10 + n), price=10, hour=20) for n in range(4)]
    events += [purchase("dog", "bone", ago(20 + 7 * n), price=3) for n in range(4)] + [purchase("dog", "cheap", ago(20), price=2)]
    return [*events, purchase("once", "cheap", ago(5), price=2)]


@pytest.fixture
def published(shop):
    fill(shop.shop_dsn, ITEMS, shop_events())
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items SET price = CASE item_id WHEN 'cheap' THEN 2 WHEN 'dear' THEN 10 ELSE 3 END")
    plan = publication.open_publication(shop, "run", DAY.isoformat(), "recommender/1 (test)")
    profiles.build(shop, plan["publication_id"], DAY.isoformat())
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        place = publication.partition("user_candidates", plan["publication_id"])
        cursor.execute(f"INSERT INTO {place} (publication_id, shard, user_id, scored_day, segment, others, bought, items, scores, embedding) "
                       "VALUES (%s, 0, 'weekly00', %s, '', 0, 0, '{}', '{}', '[1,0]')", (plan["publication_id"], DAY))
    publication.go_live(shop, plan["publication_id"], {"users": 85, "items": 3})
    return shop


def of(shop, columns: str, user: str) -> tuple:
    [row] = rows(shop.shop_dsn, f"SELECT {columns} FROM analytics.user_profiles WHERE user_id = %s", user)
    return row


def test_the_next_order_is_expected_when_those_of_the_same_rhythm_came_back(published):
    assert of(published, "next_from, next_to, churn_risk", "weekly00") == (DAY + timedelta(days=4), DAY + timedelta(days=4), pytest.approx(1 / 162, abs=1e-3))
    assert of(published, "next_from, next_to, churn_risk", "gone00") == (None, None, pytest.approx(161 / 162, abs=1e-3))


def test_a_short_history_expects_nothing(shop):
    fill(shop.shop_dsn, ITEMS, [purchase(f"u{n}", "cheap", ago(3 * week)) for n in range(40) for week in range(5)])
    plan = publication.open_publication(shop, "run", DAY.isoformat(), "recommender/1 (test)")
    profiles.build(shop, plan["publication_id"], DAY.isoformat())
    assert rows(shop.shop_dsn, f"SELECT DISTINCT next_from, next_to, churn_risk FROM {publication.partition('user_profiles', plan['publication_id'])}") == [(None, None, None)]


def test_profiles_made_of_a_few_users_at_a_time_are_those_made_of_all(published, monkeypatch):
    everything = "SELECT to_jsonb(p) - 'publication_id' FROM {} p ORDER BY user_id"
    [live] = rows(published.shop_dsn, "SELECT publication_id FROM analytics.publication")
    again = publication.open_publication(published, "again", DAY.isoformat(), "recommender/1 (test)")
    monkeypatch.setattr(profiles, "USERS", 9)  # 84 users: the last part is a broken one
    assert profiles.build(published, again["publication_id"], DAY.isoformat())["users"] == 84
    whole, parts = (rows(published.shop_dsn, everything.format(publication.partition("user_profiles", number))) for number in (*live, again["publication_id"]))
    assert len(whole) == 84 and [dict(row, embedding=None) for row, in whole] == [dict(row, embedding=None) for row, in parts]


def test_prices_say_who_seeks_discounts_and_who_buys_dear(published):
    assert of(published, "discount_share, price_level, price_band", "saver") == (1.0, 1.0, "high")
    assert of(published, "discount_share, price_level, price_band", "payer") == (0.0, 1.0, "high")
    saver, payer = (of(published, "discount_affinity", user)[0] for user in ("saver", "payer"))
    assert saver == pytest.approx((4 + 1) / (4 * 0.5 + 1)) and payer == pytest.approx((0 + 1) / (4 * 0.5 + 1))
    assert of(published, "price_level, price_band", "weekly00") == (0.0, "low")


def test_rhythm_brands_and_leaning(published):
    assert of(published, "usual_weekday, weekday_share, usual_hour", "weekly00") == ((DAY - timedelta(days=3)).isoweekday(), 1.0, 12)
    assert of(published, "usual_hour, top_brands, brand_shares", "payer") == (20, [BEST], [1.0])
    assert of(published, "top_brands, brand_shares", "dog") == (["Rex", "Own"], pytest.approx([0.8, 0.2]))
    assert of(published, "leans_to, leaning > 10", "dog") == ("PETS", True)
    assert of(published, "leans_to, leaning", "once") == (None, None)


def test_scores_are_fifths_and_equals_share_one(published):
    found = rows(published.shop_dsn, "SELECT recency_score, frequency_score, value_score FROM analytics.user_profiles WHERE user_id LIKE 'weekly%%' GROUP BY 1, 2, 3")
    assert len(found) == 1 and found[0][1] > 1
    assert of(published, "recency_score, frequency_score", "gone00")[0] == 1


def test_the_users_vector_stands_beside_the_profile(published):
    assert of(published, "embedding::text", "weekly00") == ("[1,0]",) and of(published, "embedding", "once") == (None,)


def test_every_new_column_says_what_it_means(shop):
    silent = rows(shop.shop_dsn, "SELECT attname FROM pg_attribute WHERE attrelid = 'recs.user_profiles'::regclass AND attnum > 15 AND col_description(attrelid, attnum) IS NULL")
    assert silent == []


AUDIENCES = re.findall(r"\*\*(.+?)\*\*.*?```sql\n(.+?)```", (ROOT / "docs/audiences.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_audiences_of_the_document_run(published):
    found = {name: rows(published.shop_dsn, statement.replace("%", "%%")) for name, statement in AUDIENCES}
    assert len(found) == 7
    assert "saver" in {user for user, *_ in found["Coupons where they change something"]} or not found["Coupons where they change something"]
    assert [row[0] for row in found["One interest"]] == ["PETS"]
    assert {user for user, *_ in found["Due within three days"]} == set()  # the next order is due in four days
    assert {user for user, *_ in found["No discount needed"]} <= {"payer"}


def test_a_step_that_needs_more_memory_says_which_setting_to_raise(tmp_path):
    with pytest.raises(EcomrecError, match="more memory") as told, open_duck(Settings(_env_file=None, home=tmp_path), "20MB") as (duck, _):
        duck.execute("SELECT list(range) FROM range(10_000_000)").fetchone()
    assert "ECOMREC_PROFILE_MEMORY" in str(told.value)
