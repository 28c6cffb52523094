"""Partitions ahead, retention, leftovers: on a real Postgres, with a reader in the way."""

import os
import time
from datetime import date, timedelta
from pathlib import Path

import pytest

from ecomrec import housekeeping
from ecomrec.database import connect, lock
from tests.shopdata import rows
from tests.test_transforms import EVENTS, put_events

TODAY = date(2026, 3, 20)


def with_retention(shop, **days):
    return shop.model_copy(update=days)


def partitions(dsn: str, table: str) -> list[str]:
    return [name for (name,) in rows(dsn, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1", table)]


def test_partitions_are_made_ahead_once(shop):
    done = housekeeping.keep_house(with_retention(shop, partitions_ahead=3), str(TODAY))
    assert (done["made"], done["dropped"]) == (3, [])
    assert partitions(shop.shop_dsn, "core.events") == [f"core.events_202603{day}" for day in (20, 21, 22)]
    assert housekeeping.keep_house(with_retention(shop, partitions_ahead=3), str(TODAY + timedelta(days=1)))["made"] == 1


def test_only_what_is_past_its_retention_goes_and_days_without_transforms_get_them(shop):
    put_events(shop.shop_dsn, EVENTS)
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO ops.loads (kind, day, state, files, rows_read, rows_loaded, rows_rejected, seconds) "
                       "SELECT 'events', event_day, 'loaded', 1, 1, 1, 0, 1 FROM core.events GROUP BY event_day")
    assert housekeeping.keep_house(with_retention(shop, partitions_ahead=1), str(TODAY))["transformed"] == 3
    assert partitions(shop.shop_dsn, "core.sessions") == [f"core.sessions_2026{month}" for month in ("01", "02", "03")]
    done = housekeeping.keep_house(with_retention(shop, partitions_ahead=1, retention_events=30, retention_sessions=20), str(TODAY))
    assert done["dropped"] == ["core.events_20260131", "core.events_20260201", "core.bot_users_202601", "core.sessions_202601"]
    assert rows(shop.shop_dsn, "SELECT count(*) FROM core.events") == [(1,)]
    assert rows(shop.shop_dsn, "SELECT count(*) FROM core.sessions") == [(2,)]  # February ended 19 days ago
    assert rows(shop.shop_dsn, "SELECT count(*) FROM core.item_daily") == [(3,)]
    kept = with_retention(shop, partitions_ahead=1, retention_item_daily=20)
    assert housekeeping.keep_house(kept, str(TODAY))["dropped"] == ["core.item_daily_202601"]
    assert housekeeping.keep_house(kept, str(TODAY))["transformed"] == 0 and len(partitions(shop.shop_dsn, "core.item_daily")) == 2, "what retention takes away is not made again"


def test_a_reader_delays_a_drop_and_nothing_else(shop):
    put_events(shop.shop_dsn, EVENTS)
    kept = with_retention(shop, partitions_ahead=1, retention_events=30)
    with connect(shop.shop_dsn) as reader, reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM core.events_20260131")
        done = housekeeping.drop_old(kept, TODAY)
        assert "core.events_20260131" in done["busy"]
    assert housekeeping.drop_old(kept, TODAY)["busy"] == []
    assert partitions(shop.shop_dsn, "core.events") == ["core.events_20260315"]


def test_leftovers_of_killed_loads_and_old_work_go_and_what_is_in_use_stays(shop, tmp_path):
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE staging.events_dead (n int); CREATE TABLE staging.events_busy (n int)")
    for run, age in (("old", 9), ("new", 1)):
        path = tmp_path / "store" / "work" / run / "recommender" / "file"
        path.parent.mkdir(parents=True)
        path.write_text("x")
        for part in (path, path.parent, path.parents[1]):
            os.utime(part, (time.time() - age * 86400,) * 2)
    with connect(shop.shop_dsn) as load:
        lock(load, "staging.events_busy")
        done = housekeeping.keep_house(shop, str(TODAY))
    assert (done["leftovers"], done["work"]) == (1, 1)
    assert rows(shop.shop_dsn, "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace") == [("events_busy",)]
    assert os.listdir(tmp_path / "store" / "work") == ["new"]


def test_work_that_a_training_renames_meanwhile_stays_and_the_rest_goes(shop, tmp_path, monkeypatch):
    for run in ("busy", "old"):
        path = tmp_path / "store" / "work" / run / "part"
        path.parent.mkdir(parents=True)
        path.write_text("x")
        for part in (path, path.parent):
            os.utime(part, (time.time() - 9 * 86400,) * 2)
    real = Path.rglob

    def renamed(self, pattern):
        yield from real(self, pattern)
        if self.name == "busy":
            yield self / "part.new"

    monkeypatch.setattr(Path, "rglob", renamed)
    assert housekeeping.drop_work(shop) == 1
    assert os.listdir(tmp_path / "store" / "work") == ["busy"]


def test_old_rows_go_and_the_newest_load_of_a_day_stays(shop):
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO ops.loads (kind, day, state, files, rows_read, rows_loaded, rows_rejected, seconds, finished_at) "
                       "SELECT 'events', '2025-01-01', 'loaded', 1, 1, 1, 0, 1, now() - interval '300 days' FROM generate_series(1, 2)")
        cursor.execute("INSERT INTO ops.rejected_rows (kind, day, file, line, reason, payload, seen_at) VALUES "
                       "('events', '2025-01-01', 'f', 1, 'r', 'p', now() - interval '91 days'), ('events', '2025-01-01', 'f', 2, 'r', 'p', now())")
    deleted = housekeeping.delete_old(with_retention(shop, retention_loads=200))
    assert (deleted["ops.loads"], deleted["ops.rejected_rows"]) == (1, 1)
    assert rows(shop.shop_dsn, "SELECT count(*) FROM ops.loads") == [(1,)]


@pytest.mark.parametrize("name", sorted({*housekeeping.PARTITIONED.values(), *housekeeping.PLAIN.values()}))
def test_every_retention_is_a_setting(shop, name):
    assert getattr(shop, name) >= 0
