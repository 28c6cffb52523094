"""What has to be done every day so that the tables stay small and fast: partitions ahead, retention, leftovers, statistics."""

import shutil
import time
from datetime import date, timedelta
from pathlib import Path

import psycopg2

from ecomrec import database, transforms
from ecomrec.ingest.staging import sweep
from ecomrec.settings import Settings

# Table -> the setting that says how many days of it are kept; 0 keeps all. core.bot_users goes with the sessions.
PARTITIONED = {"core.events": "retention_events", "core.bot_users": "retention_sessions", "core.sessions": "retention_sessions",
               "core.search_outcomes": "retention_search_outcomes", "core.item_daily": "retention_item_daily", "core.user_daily": "retention_user_daily"}
PLAIN = {"rejected_rows": "retention_rejected_rows", "loads": "retention_loads", "validations": "retention_validations"}
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"  # readers never queue behind a drop for longer; it is tried again tomorrow


def keep_house(settings: Settings, today: str | None = None) -> dict:
    """Does all of it, each step in a transaction of its own, so that a run that is killed has lost nothing. Returns what it did.

    `{"made", "dropped", "busy", "deleted": {table: rows}, "leftovers", "work", "transformed", "analyzed", "seconds"}`; `busy` are partitions
    that a reader held, left for the next run.
    """
    started, day = time.monotonic(), date.fromisoformat(today) if today else date.today()
    done = {"made": make_ahead(settings, day), **drop_old(settings, day), "deleted": delete_old(settings)}
    with database.connect(settings.shop_dsn, application="ecomrec housekeeping") as connection:
        done["leftovers"] = sweep(connection)
    done["work"] = drop_work(settings)
    done["transformed"] = transform_missing(settings, day)
    with database.connect(settings.shop_dsn, application="ecomrec housekeeping") as connection:
        for table in PARTITIONED:  # Postgres analyzes partitions by itself, never the table above them
            database.execute(connection, "housekeeping/analyze", table=table)
    return {**done, "analyzed": len(PARTITIONED), "seconds": round(time.monotonic() - started, 1)}


def make_ahead(settings: Settings, today: date) -> int:
    """Makes the missing partitions of core.events from today on; returns how many."""
    made = 0
    with database.connect(settings.shop_dsn, application="ecomrec housekeeping") as connection:
        there = {row["partition"] for row in database.query(connection, "housekeeping/partitions", {"table": "core.events"})}
    for day in (today + timedelta(days=number) for number in range(settings.partitions_ahead)):
        partition = f"core.events_{day:%Y%m%d}"
        if partition in there:
            continue
        try:
            with database.connect(settings.shop_dsn, application="ecomrec housekeeping") as connection:
                database.lock(connection, f"events {day}")
                database.execute(connection, "transforms/add_month", {"first": day, "next": day + timedelta(days=1)}, table="core.events", partition=partition)
            made += 1
        except psycopg2.errors.DuplicateTable:
            pass  # a load made it meanwhile
    return made


def drop_old(settings: Settings, today: date) -> dict[str, list[str]]:
    """Drops the partitions whose last day is past its table's retention; `{"dropped": […], "busy": […]}`."""
    dropped, busy = [], []
    for table, name in PARTITIONED.items():
        keep = getattr(settings, name)
        if not keep:
            continue
        with database.connect(settings.shop_dsn, application="ecomrec housekeeping") as connection:
            old = [row["partition"] for row in database.query(connection, "housekeeping/partitions", {"table": table}) if row["ends"] <= today - timedelta(days=keep)]
        for partition in old:
            try:
                with database.connect(settings.shop_dsn, application="ecomrec housekeeping") as connection, connection.cursor() as cursor:
                    cursor.execute(LOCK_TIMEOUT)
                    database.execute(connection, "ingest/drop", table=partition)
                dropped.append(partition)
            except psycopg2.errors.LockNotAvailable:
                busy.append(partition)
    return {"dropped": dropped, "busy": busy}


def delete_old(settings: Settings) -> dict[str, int]:
    """Deletes old rows of the ops tables; rows by table."""
    deleted = {}
    for table, name in PLAIN.items():
        if keep := getattr(settings, name):
            with database.connect(settings.shop_dsn, application="ecomrec housekeeping") as connection:
                deleted[f"ops.{table}"] = database.execute(connection, f"housekeeping/old_{table}", {"days": keep})
    return deleted


def drop_work(settings: Settings) -> int:
    """Removes what training runs left in `work/` and nobody has written to for `retention_work` days, in the store and on this machine; in S3 a lifecycle rule does that."""
    if not settings.retention_work:
        return 0
    places = [settings.home, *([Path(settings.store.removeprefix("file://"))] if settings.store.startswith("file://") else [])]
    oldest, removed = time.time() - settings.retention_work * 86400, 0
    for run in (run for place in places for run in (place / "work").glob("*")):
        if _written(run) < oldest:
            shutil.rmtree(run, ignore_errors=True)
            removed += 1
    return removed


def _written(run: Path) -> float:
    """When something below the folder was last written: now, when a training that runs renames or removes it meanwhile."""
    try:
        return max(path.lstat().st_mtime for path in [run, *run.rglob("*")])
    except FileNotFoundError:
        return time.time()


def transform_missing(settings: Settings, today: date) -> int:
    """Makes the daily tables of days that were loaded before there were any, none that retention would take away again; returns the days."""
    kept = min((days for name in set(PARTITIONED.values()) if (days := getattr(settings, name))), default=0)
    with database.connect(settings.shop_dsn, application="ecomrec housekeeping") as connection:
        days = [str(row["day"]) for row in database.query(connection, "housekeeping/days_without_transforms", {"first": today - timedelta(days=kept) if kept else None})]
    return sum(transforms.build(settings, day, day, echo=lambda line: None)["days"] for day in days)
