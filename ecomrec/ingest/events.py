"""Events: a day is loaded whole or not at all, and twice is the same as once."""

import time
from collections.abc import Callable
from pathlib import Path

import duckdb
from psycopg2.extras import execute_values

from ecomrec import database, validation
from ecomrec.contract import EVENT_FIELDS, EVENT_TYPES, NEEDS_ITEM, NEEDS_QUERY
from ecomrec.errors import EcomrecError, InputError, ValidationFailed
from ecomrec.ingest.files import check_lines, days_between, read_day, rejected_rows, scratch, worst_reason
from ecomrec.ingest.staging import staging_table
from ecomrec.settings import Settings

BATCH_DAYS = 45  # days that load_history stages and validates together
COLUMNS = ("event_day", "event_id", "event_time", "user_id", "session_id", "event_type", "item_id", "query", "position", "price", "quantity", "context")

# The contract, checked where the lines are: a reason, or NULL for a good row. Order matters: the first reason is the one told.
CHECK = f"""
    CASE WHEN NOT valid THEN 'not a JSON object'
         WHEN event_id IS NULL THEN 'event_id is missing'
         WHEN user_id IS NULL THEN 'user_id is missing'
         WHEN event_type IS NULL THEN 'event_type is missing'
         WHEN event_type NOT IN {EVENT_TYPES} THEN 'unknown event_type ' || event_type
         WHEN event_time IS NULL THEN 'event_time is missing'
         WHEN try_cast(event_time AS TIMESTAMPTZ) IS NULL THEN 'event_time is not a time: ' || event_time
         WHEN abs(date_diff('day', day, try_cast(event_time AS TIMESTAMPTZ)::DATE)) > 1 THEN 'event_time is not of this day: ' || event_time
         WHEN event_type IN {NEEDS_ITEM} AND item_id IS NULL THEN 'item_id is missing'
         WHEN event_type IN ('{NEEDS_QUERY[0]}') AND query IS NULL THEN 'query is missing'
         WHEN price IS NOT NULL AND NOT coalesce(isfinite(try_cast(price AS DOUBLE)), false) THEN 'price is not a number: ' || price
         WHEN quantity IS NOT NULL AND NOT coalesce(isfinite(try_cast(quantity AS DOUBLE)), false) THEN 'quantity is not a number: ' || quantity
         WHEN position IS NOT NULL AND try_cast(position AS INTEGER) IS NULL THEN 'position is not a whole number: ' || position
    END"""


def load_events(settings: Settings, day: str) -> dict:
    """Loads one day. Returns `{"day", "files", "rows_read", "rows_loaded", "rows_rejected", "seconds"}`.

    Raises InputError (files missing or broken) or ValidationFailed (a check of severity `fail`); the live day stays.
    """
    done = _load(settings, [day], lambda line: None)
    if done["refused"]:
        raise done["refused"][day]
    return {"day": day, **{name: done[name] for name in ("files", "rows_read", "rows_loaded", "rows_rejected", "seconds")}}


def load_history(settings: Settings, first: str, last: str, echo: Callable[[str], None] = print) -> dict:
    """Loads every day from `first` to `last`. Good days are loaded even when others are refused; then it raises, naming those."""
    started, total = time.monotonic(), {"files": 0, "rows_read": 0, "rows_loaded": 0, "rows_rejected": 0}
    days, refused = days_between(first, last), {}
    for start in range(0, len(days), BATCH_DAYS):
        done = _load(settings, days[start:start + BATCH_DAYS], echo)
        refused |= done["refused"]
        total = {name: total[name] + done[name] for name in total}
        seconds = time.monotonic() - started
        ready = min(start + BATCH_DAYS, len(days))
        echo(f"{ready} of {len(days)} days, {total['rows_loaded']:,} rows, {total['rows_loaded'] / seconds:,.0f} rows/s, "
             f"about {seconds / ready * (len(days) - ready):.0f} s to go")
    if refused:
        worst = [f"{day}: {error.message}" for day, error in sorted(refused.items())]
        raise ValidationFailed(f"{len(refused)} of {len(days)} days were refused, the others are loaded:\n  " + "\n  ".join(worst[:20]),
                               "mend these days' files and run them again; loading the good ones again changes nothing")
    return {"first": first, "last": last, "days": len(days), **total, "seconds": round(time.monotonic() - started, 1)}


def _load(settings: Settings, days: list[str], echo: Callable[[str], None]) -> dict:
    """Stages, validates and swaps in `days`; returns counts and `{"refused": {day: error}}`."""
    started, refused, files = time.monotonic(), {}, {}
    with scratch() as (duck, folder):
        for day in days:
            try:
                files[day] = len(read_day(duck, settings, "events", day, folder))
            except InputError as error:
                duck.execute("DELETE FROM lines WHERE day = ?::DATE", [day])
                refused[day] = error
        counts = _check(duck)
        for day in files:
            count = counts.setdefault(day, {"read": 0, "good": 0, "rejected": 0})
            if not count["read"]:
                refused[day] = InputError(f"{day} is empty: its files have no rows", "have the day delivered again; what was live stays")
            elif count["rejected"] > settings.max_rejected_share * count["read"]:
                refused[day] = ValidationFailed(
                    f"{day}: {count['rejected']:,} of {count['read']:,} rows break the contract, more than {settings.max_rejected_share:.1%}; "
                    f"the most frequent reason: {worst_reason(duck, day)}", "see ops.rejected_rows; mend the shop's export and run the day again")
        staged = [day for day in files if day not in refused]
        with staging_table(settings, "events", "core.events") as table:
            _stage(settings, duck, folder, table, staged)
            results = validation.validate(settings, table, "events", "event_day", staged)
            for day in days:
                if day in results and results[day].failed:
                    refused[day] = ValidationFailed(f"{day} does not pass: {'; '.join(results[day].failed)}",
                                                    "see ops.validations; mend the shop's export and run the day again; what was live stays")
                _finish(settings, duck, table, day, files.get(day, 0), counts.get(day, {"read": 0, "good": 0, "rejected": 0}),
                        results.get(day), refused.get(day), time.monotonic() - started)
    loaded = [counts[day] for day in staged if day not in refused]
    return {"files": sum(files.values()), "rows_read": sum(count["read"] for count in counts.values()), "rows_loaded": sum(c["good"] for c in loaded),
            "rows_rejected": sum(count["rejected"] for count in counts.values()), "seconds": round(time.monotonic() - started, 1), "refused": refused}


def _check(duck: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Makes `checked` and `good` (the first row of each event_id) from `lines`; counts per day."""
    counts = check_lines(duck, EVENT_FIELDS, CHECK)
    names = "', '".join(EVENT_FIELDS)
    without = ", ".join(f'"{name}": null' for name in EVENT_FIELDS)
    duck.execute(f"""
        CREATE OR REPLACE TABLE good AS
        SELECT day AS event_day, event_id, try_cast(event_time AS TIMESTAMPTZ) AS event_time, user_id, session_id, event_type, item_id, query,
               try_cast(position AS INTEGER) AS position, try_cast(price AS DOUBLE) AS price, try_cast(quantity AS DOUBLE) AS quantity,
               CASE WHEN len(list_filter(json_keys(object), lambda k: k NOT IN ('{names}'))) = 0 THEN coalesce(json_extract(object, '$.context'), '{{}}')
                    ELSE json_merge_patch(coalesce(json_extract(object, '$.context'), '{{}}'), json_merge_patch(object, '{{{without}}}')) END AS context
        FROM checked WHERE reason IS NULL
        QUALIFY row_number() OVER (PARTITION BY day, event_id ORDER BY file, line) = 1""")
    good = dict(duck.execute("SELECT CAST(event_day AS VARCHAR), count(*) FROM good GROUP BY 1").fetchall())
    return {day: {"read": read, "good": good.get(day, 0), "rejected": rejected} for day, (read, rejected) in counts.items()}


def _stage(settings: Settings, duck: duckdb.DuckDBPyConnection, folder: Path, table: str, days: list[str]) -> None:
    """COPYs the good rows of `days` into the staging table."""
    path = folder / "good.csv"
    duck.execute(f"COPY (SELECT {', '.join(COLUMNS)} FROM good WHERE list_contains(?::DATE[], event_day) ORDER BY event_day, user_id, event_time, "
                 f"event_id) TO '{path}' (FORMAT csv, HEADER false)", [days])
    with database.connect(settings.shop_dsn, application="ecomrec stage") as connection, path.open("rb") as stream:
        database.copy_in(connection, table, COLUMNS, stream)
    path.unlink()


def _finish(settings: Settings, duck, table: str, day: str, files: int, count: dict, result, error: EcomrecError | None, seconds: float) -> None:
    """One transaction: the day's partition (unless refused), its load, its checks, its rejected rows."""
    partition = f"core.events_{day.replace('-', '')}"
    rejected = rejected_rows(duck, "events", day)
    with database.connect(settings.shop_dsn, application=f"ecomrec load {day}") as connection:
        database.lock(connection, f"events {day}")
        if error is None:
            names = {"partition": partition, "fresh": f"{partition}_new", "table": table}
            database.execute(connection, "ingest/fill_partition", {"day": day}, **names)
            database.execute(connection, "ingest/swap_partition", {"day": day}, partition=partition, fresh=f"{partition}_new",
                             name=partition.split(".")[1])
        validation.record(connection, "events", day, result)
        database.execute(connection, "ingest/clear_rejected", {"kind": "events", "day": day})
        with connection.cursor() as cursor:
            execute_values(cursor, "INSERT INTO ops.rejected_rows (kind, day, file, line, reason, payload) VALUES %s", rejected, page_size=1000)
        database.execute(connection, "ingest/record_load", {
            "kind": "events", "day": day, "state": "refused" if error else "loaded", "files": files, "rows_read": count["read"],
            "rows_loaded": 0 if error else count["good"], "rows_rejected": count["rejected"], "seconds": seconds, "reason": error and error.message})
