"""Rows in, rows out: each folder `tests/sql/<table>/<case>/` holds core.events.csv and, in expect.csv, what the table must then hold."""

import csv
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pytest

from ecomrec import transforms
from ecomrec.database import connect, identifier
from ecomrec.privacy import tombstones
from tests.shopdata import rows

CASES = sorted(path.parent for path in (Path(__file__).parent / "sql").glob("*/*/expect.csv"))


def put_events(dsn: str, text: str) -> list[str]:
    """Writes the CSV rows into core.events, with ids where they have none; returns the days."""
    events = list(csv.DictReader(io.StringIO(text)))
    for number, event in enumerate(events):
        event.setdefault("event_id", f"e{number:04}")
        event.setdefault("context", "{}")
    days = sorted({event["event_day"] for event in events})
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(events[0]))
    writer.writerows(events)
    stream.seek(0)
    with connect(dsn) as connection, connection.cursor() as cursor:
        for day in days:
            cursor.execute(f"CREATE TABLE core.events_{day.replace('-', '')} PARTITION OF core.events FOR VALUES FROM (%s) TO (%s)",
                           (day, date.fromisoformat(day) + timedelta(days=1)))
        cursor.copy_expert(f"COPY core.events ({', '.join(events[0])}) FROM STDIN (FORMAT csv)", stream)
    return days


def table_csv(dsn: str, table: str, columns: str) -> str:
    """The table's columns as CSV, in the order of its key."""
    key = {"core.search_outcomes": "event_day, search_id, item_id", "core.sessions": "event_day, user_id, session_id, started_at",
           "core.item_daily": "event_day, item_id"}.get(table, "event_day, user_id")
    stream = io.StringIO()
    with connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.copy_expert(f"COPY (SELECT {columns} FROM {identifier(table).as_string(connection)} ORDER BY {key}) TO STDOUT (FORMAT csv, HEADER)", stream)
    return stream.getvalue()


@pytest.mark.parametrize("part_rows", [1_000_000, 2])
@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_rows_in_rows_out(shop, case, part_rows, monkeypatch):
    monkeypatch.setattr(transforms, "PART_ROWS", part_rows)  # a large day is worked on some users at a time
    days = put_events(shop.shop_dsn, (case / "core.events.csv").read_text(encoding="utf-8"))
    expected = (case / "expect.csv").read_text(encoding="utf-8")
    columns = expected.splitlines()[0]
    for order in ([days], [[day] for day in reversed(days)], [days]):  # at once; one by one and backwards; again
        for part in order:
            with connect(shop.shop_dsn) as connection:
                transforms.run(shop, connection, part)
        assert list(csv.reader(io.StringIO(table_csv(shop.shop_dsn, case.parent.name, columns)))) == list(csv.reader(io.StringIO(expected)))


def test_every_table_has_cases():
    assert {case.parent.name for case in CASES} == set(transforms.TABLES)


EVENTS = """event_day,event_time,user_id,event_type,item_id,query
2026-01-31,2026-01-31 10:00:00Z,u,search,,tea
2026-01-31,2026-01-31 10:01:00Z,u,click,tea,
2026-02-01,2026-02-01 10:00:00Z,u,click,tea,
2026-03-15,2026-03-15 10:00:00Z,v,purchase,tea,
"""


def everything(dsn: str) -> list:
    return [rows(dsn, f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4") for table in transforms.TABLES]


def test_build_makes_loaded_days_again_and_leaves_others(shop):
    put_events(shop.shop_dsn, EVENTS)
    done = transforms.build(shop, "2026-01-01", "2026-12-31", echo=lambda line: None)
    assert (done["days"], done["events"]) == (3, 4)
    before = everything(shop.shop_dsn)
    assert [len(found) for found in before] == [0, 3, 1, 3, 3]
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM core.events WHERE event_day > '2026-02-28'")
    transforms.build(shop, "2026-01-15", "2026-02-15", echo=lambda line: None)
    assert everything(shop.shop_dsn) == before


def test_who_is_erased_while_days_are_made_again_does_not_come_back(shop, monkeypatch):
    put_events(shop.shop_dsn, EVENTS)
    real, buried = transforms.put, []
    with ThreadPoolExecutor(1) as pool:
        def erased_meanwhile(*arguments):
            buried.append(pool.submit(tombstones.bury, shop, ["u"]))
            with pytest.raises(TimeoutError):  # her rows would be deleted before these are written
                buried[0].result(0.5)
            return real(*arguments)

        monkeypatch.setattr(transforms, "put", erased_meanwhile)
        transforms.build(shop, "2026-01-01", "2026-12-31", echo=lambda line: None)
        assert buried[0].result(10) is None
    monkeypatch.undo()
    transforms.build(shop, "2026-01-01", "2026-12-31", echo=lambda line: None)  # while core.events has not lost her yet
    for table in set(transforms.TABLES) - {"core.item_daily"}:
        assert rows(shop.shop_dsn, f"SELECT count(*) FROM {table} WHERE user_id = 'u'") == [(0,)]
    assert rows(shop.shop_dsn, "SELECT user_id FROM core.user_daily") == [("v",)]


def test_a_run_that_fails_leaves_the_day_as_it_was(shop):
    put_events(shop.shop_dsn, EVENTS)
    transforms.build(shop, "2026-01-01", "2026-12-31", echo=lambda line: None)
    before = everything(shop.shop_dsn)
    with pytest.raises(RuntimeError), connect(shop.shop_dsn) as connection:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM core.events")
        transforms.run(shop, connection, ["2026-02-01"])  # would empty the day
        raise RuntimeError("killed")
    assert everything(shop.shop_dsn) == before


def test_texts_come_out_of_postgres_as_they_are(shop):
    put_events(shop.shop_dsn, 'event_day,event_time,user_id,session_id,event_type,item_id,query\n'
               '2026-01-31,2026-01-31 10:00:00.123456Z,"u ""1"", a",,search,,"tea,\n\\n ""green"""\n2026-01-31,2026-01-31 10:01:00Z,"u ""1"", a",,click,NULL,\n')
    transforms.build(shop, "2026-01-31", "2026-01-31", echo=lambda line: None)
    assert rows(shop.shop_dsn, "SELECT user_id, query, item_id, searched_at::text FROM core.search_outcomes") == [
        ('u "1", a', 'tea,\n\\n "green"', "NULL", "2026-01-31 10:00:00.123456+00")]


def test_two_loads_that_need_the_same_month_both_end(shop):
    put_events(shop.shop_dsn, EVENTS)
    failures = []

    def one(day: str) -> None:
        try:
            with connect(shop.shop_dsn) as connection:
                transforms.run(shop, connection, [day])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(day,)) for day in ("2026-01-31", "2026-01-30", "2026-01-29")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert rows(shop.shop_dsn, "SELECT count(*) FROM core.sessions") == [(1,)]


def test_analysts_see_the_tables_and_every_column_is_described_or_plain(shop):
    put_events(shop.shop_dsn, EVENTS)
    transforms.build(shop, "2026-01-01", "2026-12-31", echo=lambda line: None)
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SET ROLE ecomrec_analyst")
        cursor.execute("SELECT event_day::text, query, clicked, carted, purchased FROM analytics.searches")
        assert cursor.fetchall() == [("2026-01-31", "tea", 1, 0, 0)]
        for view in ("bot_users", "sessions", "search_outcomes", "item_daily", "user_daily"):
            cursor.execute(f"SELECT * FROM analytics.{view}")
    undescribed = rows(shop.shop_dsn, "SELECT relname FROM pg_class WHERE relnamespace = 'analytics'::regnamespace AND obj_description(oid, 'pg_class') IS NULL")
    assert undescribed == []
