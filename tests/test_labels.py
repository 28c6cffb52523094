"""Searches in, labelled queries out, on a real Postgres."""

import io
import json
from datetime import date, datetime, timedelta

import numpy as np
import psycopg2
import pyarrow.parquet as pq
import pytest
from psycopg2.extras import Json

from ecomrec import database, labels, transforms
from ecomrec.errors import InputError
from ecomrec.queries import misspell, normalise
from ecomrec.search import pairs
from tests.shopdata import HISTORY, fill, purchase

DAY = "2026-03-31"


@pytest.fixture
def write(shop):
    """`write(events)`: rows (day, minute, user, session, type, item or query[, simulated]) into core.events; three products."""
    connection = psycopg2.connect(shop.shop_dsn)
    with connection.cursor() as cursor:
        for item, category in (("milk", "Dairy/Milk"), ("bread", "Bakery/Bread"), ("brie", "Dairy/Cheese")):
            cursor.execute("INSERT INTO core.items (item_id, title, category, updated_at, loaded_day) VALUES (%s, %s, %s, now(), %s)",
                           (item, item, category, DAY))
        cursor.execute(HISTORY)
        cursor.execute("CREATE TABLE core.events_test PARTITION OF core.events FOR VALUES FROM ('2020-01-01') TO ('2030-01-01')")
    connection.commit()

    def rows(events):
        with connection.cursor() as cursor:
            for number, (day, minute, user, session, kind, what, *simulated) in enumerate(events):
                cursor.execute("INSERT INTO core.events (event_day, event_id, event_time, user_id, session_id, event_type, item_id, query, context) "
                               "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                               (day, f"e{number}", datetime.fromisoformat(f"{day}T10:00:00+00:00") + timedelta(minutes=minute), user, session, kind,
                                None if kind == "search" else what, what if kind == "search" else None, Json({"simulated": bool(simulated)})))
        connection.commit()
        transforms.build(shop, "2020-01-01", "2029-12-31", echo=lambda line: None)

    yield rows
    connection.close()


@pytest.fixture(autouse=True)
def small_support(monkeypatch):
    rules = labels.recipe()
    rules["labels"]["min_support"] = 1
    monkeypatch.setattr(labels, "recipe", lambda: rules)


def labelled(settings, folder) -> dict:
    labels.build(settings, DAY, folder)
    return {(row["split"], row["query"], row["category"]): (row["weight"], row["count"]) for row in pq.read_table(folder / "queries.parquet").to_pylist()}


def test_the_strongest_event_of_a_category_counts_once(shop, write, tmp_path):
    write([("2026-03-01", 0, "u", "s", "search", "Milk"), ("2026-03-01", 1, "u", "s", "click", "milk"), ("2026-03-01", 2, "u", "s", "cart", "milk"),
           ("2026-03-01", 3, "u", "s", "purchase", "milk"), ("2026-03-01", 4, "u", "s", "click", "brie")])
    assert labelled(shop, tmp_path) == {("train", "milk", "Dairy/Milk"): (3.0, 1), ("train", "milk", "Dairy/Cheese"): (1.0, 1)}


def test_an_outcome_belongs_to_the_search_that_led_to_the_item(shop, write, tmp_path):
    write([("2026-03-01", 0, "u", "s", "search", "milk"), ("2026-03-01", 1, "u", "s", "click", "milk"), ("2026-03-01", 2, "u", "s", "search", "bread"),
           ("2026-03-01", 3, "u", "s", "click", "bread"),
           ("2026-03-01", 4, "u", "s", "purchase", "milk"), ("2026-03-01", 4, "u", "s", "purchase", "bread")])  # one basket, paid at the end
    assert labelled(shop, tmp_path) == {("train", "milk", "Dairy/Milk"): (3.0, 1), ("train", "bread", "Bakery/Bread"): (3.0, 1)}


def test_what_is_late_unsearched_or_of_another_session_or_user_labels_nothing(shop, write, tmp_path):
    write([("2026-03-01", 0, "u", "s", "click", "brie"), ("2026-03-01", 1, "u", "s", "search", "milk"), ("2026-03-01", 32, "u", "s", "click", "milk"),
           ("2026-03-01", 2, "u", "other", "click", "bread"), ("2026-03-01", 2, "v", "s", "click", "bread"), ("2026-03-01", 3, "u", "s", "click", "unknown item"),
           ("2026-03-02", 0, "w", None, "search", "cheese"), ("2026-03-02", 1, "w", None, "click", "brie")])
    assert labelled(shop, tmp_path) == {("train", "cheese", "Dairy/Cheese"): (1.0, 1)}


def test_without_session_ids_a_gap_of_thirty_minutes_ends_a_session(shop, write, tmp_path):
    write([("2026-03-01", 0, "u", None, "search", "milk"), ("2026-03-01", 5, "u", None, "click", "milk"), ("2026-03-01", 60, "u", None, "search", "dairy"),
           ("2026-03-01", 61, "u", None, "purchase", "milk"), ("2026-03-01", 200, "u", None, "click", "bread")])
    assert labelled(shop, tmp_path) == {("train", "milk", "Dairy/Milk"): (1.0, 1), ("train", "dairy", "Dairy/Milk"): (3.0, 1)}


def test_spellings_of_one_query_are_one_query(shop, write, tmp_path):
    write([(f"2026-03-0{day}", 0, "u", "s", "search", query) for day, query in ((1, "  MILK\n2l "), (2, "milk 2L"), (3, "ｍｉｌｋ 2l"))]
          + [(f"2026-03-0{day}", 1, "u", "s", "click", "milk") for day in (1, 2, 3)])
    assert labelled(shop, tmp_path) == {("train", "milk 2l", "Dairy/Milk"): (3.0, 3)}


def test_days_are_split_by_time_and_days_outside_are_not_read(shop, write, tmp_path):
    days = ["2025-03-31", "2026-03-17", "2026-03-18", "2026-03-24", "2026-03-25", "2026-03-31", "2026-04-01"]
    write([(day, minute, "u", day, kind, what) for day in days for minute, kind, what in ((0, "search", f"milk {day[5:]}"), (1, "click", "milk"))])
    assert sorted((split, query) for split, query, _ in labelled(shop, tmp_path)) == [
        ("test", "milk 03-25"), ("test", "milk 03-31"), ("train", "milk 03-17"), ("valid", "milk 03-18"), ("valid", "milk 03-24")]


def test_the_simulated_share_is_told_and_a_second_build_is_the_same(shop, write, tmp_path):
    write([("2026-03-01", 0, "u", "a", "search", "milk", True), ("2026-03-01", 1, "u", "a", "click", "milk"),
           ("2026-03-02", 0, "u", "b", "search", "milk"), ("2026-03-02", 1, "u", "b", "click", "milk")])
    labels.build(shop, DAY, tmp_path)
    first = (tmp_path / "queries.parquet").read_bytes(), (tmp_path / "labels.json").read_bytes()
    facts = json.loads(first[1])
    assert (facts["simulated"], facts["searches"], facts["labelled"], facts["category_names"]) == (0.5, 2, 2, ["Dairy/Milk"])
    labels.build(shop, DAY, tmp_path)
    assert ((tmp_path / "queries.parquet").read_bytes(), (tmp_path / "labels.json").read_bytes()) == first


def test_no_labelled_search_among_many_is_said_with_a_remedy(shop, write, tmp_path, monkeypatch):
    write([("2026-03-01", 0, "u", "a", "search", "milk")])
    assert labels.build(shop, DAY, tmp_path)["titles"]  # a new shop: its products say their categories
    rules = labels.recipe()
    rules["labels"]["titles_below"] = 1
    monkeypatch.setattr(labels, "recipe", lambda: rules)
    with pytest.raises(InputError, match="no search of the training days"):
        labels.build(shop, DAY, tmp_path)


def test_a_shop_with_too_few_labelled_searches_learns_from_titles_or_is_told_how_many_it_needs(shop, write, tmp_path, monkeypatch):
    write([("2026-03-01", 0, "u", "a", "search", "milk"), ("2026-03-01", 1, "u", "a", "click", "milk")])
    rules = labels.recipe()
    rules["labels"].update(min_support=20)
    monkeypatch.setattr(labels, "recipe", lambda: rules)
    with pytest.raises(InputError, match="each needs 20"):  # titles are too few too
        labels.build(shop, DAY, tmp_path)
    rules["labels"].update(titles_below=0)
    with pytest.raises(InputError, match=r"the 1 labelled searches of the training days .* each needs 20"):
        labels.build(shop, DAY, tmp_path)


def test_rare_categories_join_their_nearest_parent_with_enough_labels():
    support = {"a/b/c": 3, "a/b/d": 2, "a/e": 30, "f/g": 2, "f": 1}
    assert labels.back_off(support, 5) == {"a/b/c": "a/b", "a/b/d": "a/b", "a/e": "a/e"}
    assert labels.back_off(support, 3) == {"a/b/c": "a/b/c", "a/e": "a/e", "f/g": "f", "f": "f"}
    assert labels.back_off({}, 5) == {}
    assert labels.back_off({"": 2, "/a": 1, "b": 9}, 5) == {"b": "b"}, "a category without a name ends, and joins nothing"


def test_a_product_without_a_category_labels_nothing(shop, write, tmp_path):
    with psycopg2.connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items SET category = '' WHERE item_id = 'bread'; UPDATE core.item_history SET category = '' WHERE item_id = 'bread'")
    write([("2026-03-01", 0, "u", "s", "search", "loaf"), ("2026-03-01", 1, "u", "s", "click", "bread"), ("2026-03-01", 2, "u", "s", "search", "milk"), ("2026-03-01", 3, "u", "s", "click", "milk")])
    assert {query for _, query, _ in labelled(shop, tmp_path)} == {"milk"}


def test_an_unknown_category_of_the_test_days_stays_to_be_missed(shop, tmp_path, small_support):
    import pyarrow as pa

    rows = pa.table({"day": [date(2026, 3, 1), date(2026, 3, 30)], "query": ["milk", "soap"], "category": ["Dairy/Milk", "Home/Soap"],
                     "weight": [1.0, 1.0], "count": [1, 1], "simulated": [0, 0]})
    summary = labels.write(shop, DAY, rows, {"searches": 2, "simulated": 0}, tmp_path)
    assert summary["searches_by_split"] == {"train": 1, "valid": 0, "test": 1} and summary["categories"] == 1


@pytest.mark.parametrize(("typed", "query"), [("", ""), (" \t\n", ""), ("Ｃafé\x00 CRÈME", "café crème"), ("🥛  Milk", "🥛 milk"), ("\ud800x", "x")])
def test_normalise(typed, query):
    assert normalise(typed) == query and normalise(query) == query


def test_a_page_is_cut_and_a_misspelling_changes_one_long_word():
    import random

    assert len(normalise("ﷺ" * 10_000)) <= 200
    source = random.Random(1)
    assert misspell("ice tea", source) == "ice tea"
    seen = {misspell("whole milk", source) for _ in range(200)}
    assert len(seen) > 20 and all(abs(len(text) - 10) <= 1 for text in seen)


def test_a_shop_without_searches_starts_from_its_titles(shop, tmp_path):
    items = [(f"i{number}", f"title number {number}", "A/x" if number % 2 else "B/y", None, True, False) for number in range(400)] + [("n", "", "A/x", None, True, False)]
    fill(shop.shop_dsn, items, [purchase("ann", "i1", "2017-03-10")])
    found = labels.build(shop, "2017-03-10", tmp_path)
    assert found["searches"] == 0 and found["rows"]["train"] > 280 and found["rows"]["valid"] > 20 and found["rows"]["test"] > 20
    assert sum(found["rows"].values()) == 400 and found["categories"] == 2


def test_looks_at_each_place_are_learned_from_products_shown_at_two(shop, write):
    """Clicks drawn by a position-based model whose looks are known; better products stand higher, which plain click rates would take for looks."""
    looks, source = (1.0, 0.6, 0.4, 0.3), np.random.default_rng(3)
    events = io.StringIO()
    for number in range(300):
        appeal, place = source.uniform(0.1, 0.9), 0
        place = min(2, int((0.9 - appeal) * 3.75))  # shown here and one lower, half of the times each
        for time in range(60):
            at = place + time % 2
            for kind in ("impression", *(["click"] if source.random() < appeal * looks[at] else [])):
                events.write(f"2026-02-01,{kind}{number}-{time},2026-02-01T10:00:00Z,u,{kind},i{number},q{number},{at + 1}\n")
    events.seek(0)
    with database.connect(shop.shop_dsn) as connection:
        database.copy_in(connection, "core.events", ("event_day", "event_id", "event_time", "user_id", "event_type", "item_id", "query", "position"), events)
        database.execute(connection, "labels/examined", {"first": date(2026, 1, 1), "last": date(2026, 3, 1)})
        with connection.cursor() as cursor:
            cursor.execute("SELECT position, share FROM examined ORDER BY position")
            found = dict(cursor.fetchall())
    assert list(found) == [2, 3, 4] and [found[place] for place in (2, 3, 4)] == pytest.approx(looks[1:], rel=0.12)


def test_a_click_where_few_look_weighs_more(shop, write, tmp_path, monkeypatch):
    write([("2026-03-01", 0, "u", "s", "search", "Milk"), ("2026-03-01", 1, "u", "s", "click", "milk"), ("2026-03-01", 2, "u", "s", "click", "brie")])
    plain = labelled(shop, tmp_path)
    real = database.execute

    def looks(connection, name, parameters=None, /, **identifiers):
        done = real(connection, name, parameters, **identifiers)
        if name == "labels/examined":
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO examined VALUES (2, 0.5), (3, 0.25)")
        return done

    assert plain == {("train", "milk", "Dairy/Milk"): (1.0, 1), ("train", "milk", "Dairy/Cheese"): (1.0, 1)}
    monkeypatch.setattr(database, "execute", looks)
    for milk, brie, weights in ((2, 1, (2.0, 1.0)), (140, None, (4.0, 1.0))):  # beyond the last place that is known, as there; no place, as it is
        with psycopg2.connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE core.search_outcomes SET position = CASE item_id WHEN 'milk' THEN %s ELSE %s END", (milk, brie))
        assert labelled(shop, tmp_path) == {("train", "milk", "Dairy/Milk"): (weights[0], 1), ("train", "milk", "Dairy/Cheese"): (weights[1], 1)}
        found = pairs.build(shop, DAY, tmp_path)
        assert found["pairs"]["train"] == 2
        assert {row["item_id"]: (row["grade"], row["weight"]) for row in pq.read_table(tmp_path / "pairs.parquet").to_pylist()} == {"milk": (1, weights[0]), "brie": (1, weights[1])}


def test_what_was_shown_and_never_chosen_is_shown_three_times_to_people(shop, write, tmp_path):
    write([("2026-03-01", 0, "u", "s", "search", "Milk"), ("2026-03-01", 1, "u", "s", "click", "milk")])
    with psycopg2.connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        for number in range(3):
            for user, item in (("u", "milk"), ("u", "brie"), ("robot", "bread")):
                cursor.execute("INSERT INTO core.events (event_day, event_id, event_time, user_id, event_type, item_id, query) VALUES ('2026-03-01', %s, '2026-03-01', %s, 'impression', %s, 'Milk')",
                               (f"{user}{item}{number}", user, item))
        cursor.execute("INSERT INTO core.bot_users (event_day, user_id, actions, busiest_minute, active_hours, reason) VALUES ('2026-03-01', 'robot', 9, 9, 1, 'test')")
    pairs.build(shop, DAY, tmp_path)
    assert pq.read_table(tmp_path / "shown.parquet").to_pylist() == [{"query": "milk", "item_id": "brie"}]


def test_a_row_of_megabytes_is_read(shop, write, tmp_path):
    write([("2026-03-01", 0, "u", "s", "search", "Milk"), ("2026-03-01", 1, "u", "s", "click", "milk")])
    with psycopg2.connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items SET description = repeat('\"milk\" ', 500000) WHERE item_id = 'milk'")
    assert pairs.build(shop, DAY, tmp_path)["products"] == 3
