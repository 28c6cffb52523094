"""Rows in core.events and core.items in; the data set's files out."""

import csv
import io
import json
import tracemalloc
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecomrec import database, dataset, heldout
from ecomrec.errors import InputError
from ecomrec.settings import Settings
from tests.shopdata import HISTORY

LAST = date(2017, 3, 31)


def fill(settings, rows, items):
    """rows: (days before LAST, user, item, event type, seconds into the day)."""
    events = io.StringIO()
    writer = csv.writer(events)
    for number, (back, user, item, kind, second) in enumerate(rows):
        day = LAST - timedelta(days=back)
        writer.writerow((day, f"e{number:06}", f"{day}T00:00:00Z" if not second else f"{day}T00:00:{second:02}Z", user, kind, item))
    events.seek(0)
    with database.connect(settings.shop_dsn) as connection:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE core.events_2017 PARTITION OF core.events FOR VALUES FROM ('2017-01-01') TO ('2018-01-01')")
            for item in items:
                cursor.execute("INSERT INTO core.items (item_id, title, category, brand, updated_at, loaded_day, deleted) VALUES (%s, %s, %s, %s, %s, %s, %s)",
                               (item, f"title, {item}", "food/dairy", None if item == "a" else "brand", LAST, LAST, item == "gone"))
            cursor.execute(HISTORY)
        database.copy_in(connection, "core.events", ("event_day", "event_id", "event_time", "user_id", "event_type", "item_id"), events)


def some_rows():
    old = [(back, user, item, "purchase", 0) for back in range(20, 26) for user in ("u1", "u2") for item in ("a", "b", "gone")]
    return [*old, (30, "u1", "rare", "purchase", 0), (20, "u1", "a", "click", 9), (9, "u2", "b", "purchase", 0),
            (3, "u1", "b", "purchase", 5), (3, "u1", "a", "purchase", 2), (3, "u3", "late", "purchase", 0)]


def test_split_universe_and_order(shop, tmp_path):
    fill(shop, some_rows(), ("a", "b", "gone", "rare", "late", "never"))
    meta = dataset.build(shop, LAST.isoformat(), tmp_path)
    assert (meta["valid_from"], meta["test_from"], meta["first_day"]) == ("2017-03-18", "2017-03-25", "2017-03-01")
    assert (meta["users"], meta["items"], meta["other_items"], meta["events"]) == (3, 2, 3, 41)  # the click is not read
    assert meta["test_purchases_covered"] == pytest.approx(2 / 3, abs=1e-4)
    data = dataset.load(tmp_path)
    assert data.item_ids.tolist() == ["a", "b"] and data.user_ids.tolist() == ["u1", "u2", "u3"]
    assert data.texts == ["title, a. food dairy", "title, b. food dairy. brand"]
    assert (np.diff(data.user) >= 0).all()
    mine = data.user == 0
    assert (np.diff(data.time[mine]) >= 0).all()
    assert data.item[mine][-2:].tolist() == [0, 1]  # by time within the day, not by event id
    assert data.day[mine][-1] == (LAST - date(1970, 1, 1)).days - 3
    assert (data.weight == 1).all() and data.item.max() == 4
    assert json.loads((tmp_path / "meta.json").read_text()) == meta


def test_the_same_rows_give_the_same_files(shop, tmp_path):
    fill(shop, some_rows(), ("a", "b", "gone"))
    for name in ("one", "two"):
        dataset.build(shop, LAST.isoformat(), tmp_path / name)
    for file in ("interactions", "users", "items"):
        assert pq.read_table(tmp_path / "one" / f"{file}.parquet").equals(pq.read_table(tmp_path / "two" / f"{file}.parquet"))


def test_days_outside_the_history_are_not_read(shop, tmp_path):
    fill(shop, some_rows(), ("a", "b"))
    settings = shop.model_copy(update={"history_days": 24})
    assert dataset.build(settings, LAST.isoformat(), tmp_path)["first_day"] == (LAST - timedelta(days=23)).isoformat()
    earlier = dataset.build(shop, (LAST - timedelta(days=5)).isoformat(), tmp_path)
    assert dataset.load(tmp_path).day.max() <= (LAST - timedelta(days=5) - date(1970, 1, 1)).days
    assert earlier["day"] == "2017-03-26" and earlier["test_purchases_covered"] == 1.0  # of the one purchase nine days before LAST


def test_validation_and_test_days_do_not_decide_the_universe(shop, tmp_path):
    rows = [*some_rows(), *((back, "u1", "late", "purchase", 1) for back in range(14))]
    fill(shop, rows, ("a", "b", "late"))
    dataset.build(shop, LAST.isoformat(), tmp_path)
    assert dataset.load(tmp_path).item_ids.tolist() == ["a", "b"]


def test_nothing_to_train_on_names_the_remedy(shop, tmp_path):
    fill(shop, [(3, "u1", "a", "purchase", 0)], ("a",))
    with pytest.raises(InputError, match="load more days"):
        dataset.build(shop, LAST.isoformat(), tmp_path)


def test_no_catalogue_names_the_remedy(shop, tmp_path):
    fill(shop, some_rows(), ())
    with pytest.raises(InputError, match="ingest_catalog"):
        dataset.build(shop, LAST.isoformat(), tmp_path)


def test_split_by_user_as_the_literature_does(tmp_path):
    """The last event is test, the one before it valid, for as many users as the recipe says; the universe is every item with an event."""
    sizes = [1, 2, 3, 5, 7]
    rows = [(f"u{user}", f"i{place}", 100 + place, (100 + place) * 86400, "purchase") for user, size in enumerate(sizes) for place in range(size)]
    columns = ("user_id", "item_id", "day", "time", "event_type")
    events = pa.table({name: list(values) for name, values in zip(columns, zip(*rows, strict=True), strict=True)})
    events = events.set_column(2, "day", events["day"].cast(pa.int32()))
    items = pa.table({"item_id": [f"i{item}" for item in range(9)], "title": ["thing"] * 9, "category": [""] * 9, "brand": [""] * 9})
    dataset.write(Settings(_env_file=None, home=tmp_path), "1970-05-01", events, items, tmp_path / "set", by_user=True)
    data = dataset.load(tmp_path / "set")
    parts = [data.part[data.user == user].tolist() for user in range(len(sizes))]
    assert parts == [[0], [0, 2], [0, 1, 2], [0, 0, 0, 1, 2], [0, 0, 0, 0, 0, 1, 2]]
    assert data.by_user and len(data.item_ids) == 7  # every item that anybody has had
    held = heldout.held_out(data, dataset.TEST)
    assert held["exclude"] and held["users"].tolist() == [1, 2, 3, 4] and held["items"].tolist() == [1, 2, 4, 6]
    assert np.diff(held["histories"].offsets).tolist() == [1, 2, 4, 6]


def test_training_reads_the_catalogue_of_its_day_and_no_robots(shop, tmp_path):
    fill(shop, some_rows(), ("a", "b"))
    with database.connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.item_history SET valid_from = '2017-01-01', valid_to = '2017-04-01'")
        cursor.execute("INSERT INTO core.item_history (item_id, valid_from, title, category, in_stock, deleted) VALUES "
                       "('a', '2017-04-01', 'a new title', 'food', true, false), ('b', '2017-04-01', 'title, b', 'food', true, true)")
        cursor.execute("CREATE TABLE core.bot_users_x PARTITION OF core.bot_users DEFAULT")
        cursor.execute("INSERT INTO core.bot_users VALUES (%s, 'u1', 9999, 99, 24, 'quick')", (LAST - timedelta(days=3),))
    assert dataset.build(shop, LAST.isoformat(), tmp_path)["events"] == 39  # without two rows of u1 on one day
    assert dataset.load(tmp_path).texts == ["title, a. food dairy", "title, b. food dairy. brand"]
    assert dataset.build(shop, (LAST + timedelta(days=1)).isoformat(), tmp_path)["items"] == 1
    assert dataset.load(tmp_path).texts == ["a new title. food"]


def test_one_long_item_id_costs_no_memory_for_each_event(tmp_path):
    """As an array of texts, 20,000 events with an id of 500 characters among them would take 40 MB, several times over."""
    rows = 20_000
    events = pa.table({"user_id": [f"u{n // 20:04}" for n in range(rows)], "item_id": ["x" * 500 if n == 7 else f"i{n % 50}" for n in range(rows)],
                       "day": pa.array([100 + n // 50 % 20 for n in range(rows)], pa.int32()), "time": [(100 + n // 50 % 20) * 86400 for n in range(rows)], "event_type": ["purchase"] * rows})
    items = pa.table({"item_id": ["x" * 500, *(f"i{n}" for n in range(50))], "title": ["thing"] * 51, "category": [""] * 51, "brand": [""] * 51})
    tracemalloc.start()
    try:
        meta = dataset.write(Settings(_env_file=None, home=tmp_path), "1970-04-30", events, items, tmp_path / "set")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert meta["events"] == rows and meta["other_items"] == 1 and peak < 20e6


def test_ids_are_numbered_by_code_point_whatever_their_script_and_the_parts_they_come_in():
    ids = ["z", "é", "\uffee", "😀", "a", "鱼", "Z", "a", "", "z"]
    column = pa.chunked_array([ids[:4], ids[4:9], ids[9:]], pa.string())
    for given in (column, column.dictionary_encode()):
        names, place = dataset._numbered(given)
        expected, where = np.unique(np.array(ids), return_inverse=True)
        assert names.tolist() == expected.tolist() == sorted(set(ids)) and place.tolist() == where.tolist()
