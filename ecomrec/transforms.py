"""What is made of a day's events: bots, sessions, search outcomes, and a row per item and per user.

Each day's rows depend on that day's events alone and are replaced as a whole, so days may be loaded in any order, any
number of times. The SQL in `sql/transforms/` is the definition; DuckDB runs it (docs/decisions/0017), on the rows that a load
has parsed or, when days are made again, on those of core.events.
"""

import time
from collections.abc import Callable, Iterator

import duckdb

from ecomrec import database
from ecomrec.duck import fill, open_duck, stream
from ecomrec.privacy import tombstones
from ecomrec.settings import Settings

MADE = ("bot_users", "sessions", "search_outcomes", "item_daily", "user_daily")  # in the order in which they are made
TABLES = tuple(f"core.{name}" for name in MADE)
EVENTS = {"event_day": "DATE", "event_id": "VARCHAR", "event_time": "TIMESTAMPTZ", "user_id": "VARCHAR", "session_id": "VARCHAR", "event_type": "VARCHAR",
          "item_id": "VARCHAR", "query": "VARCHAR", "position": "INTEGER", "price": "DOUBLE", "quantity": "DOUBLE", "simulated": "BOOLEAN"}
PART_ROWS = 1_000_000  # events that are worked on at a time
BATCH_ROWS = 2_000_000  # events that are made again together: what they need on disk stays small


def _find_bots(settings: Settings, duck: duckdb.DuckDBPyConnection, events: str) -> None:
    """Makes the view `events` and fills the table `bot_users` in `duck` with the bots of the days that `events` has (see `make`)."""
    limits = {"a_minute": settings.bot_actions_a_minute, "a_day": settings.bot_actions_a_day, "hours": settings.bot_hours_a_day}
    duck.execute(f"CREATE OR REPLACE TEMPORARY VIEW events AS {events}")
    duck.execute("CREATE TABLE IF NOT EXISTS bot_users (event_day DATE, user_id VARCHAR, actions INTEGER, busiest_minute INTEGER, active_hours INTEGER, reason VARCHAR)")
    duck.execute("DELETE FROM bot_users WHERE event_day IN (SELECT DISTINCT event_day FROM events)")
    for _ in _parts(duck):
        duck.execute(f"INSERT INTO bot_users {database.text('transforms/bot_users')}", limits)


def _parts(duck: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Makes the view `part` of `events` over and over, each time of the next users in order, PART_ROWS events at a time: what is made of
    a day then fits in memory, however large the day is."""
    (rows,) = duck.execute("SELECT count(*) FROM events").fetchone()
    shares = [number / (rows // PART_ROWS + 1) for number in range(1, rows // PART_ROWS + 1)]
    cuts = duck.execute("SELECT quantile_disc(user_id, ?) FROM (SELECT user_id FROM events USING SAMPLE reservoir(20000 ROWS) REPEATABLE (42))", [shares]).fetchone()[0] if shares else []
    cuts = sorted(set(cuts or []))
    for low, high in zip([None, *cuts], [*cuts, None], strict=True):
        wanted = [f"user_id {sign} {_quoted(cut)}" for sign, cut in ((">=", low), ("<", high)) if cut is not None]
        duck.execute(f"CREATE OR REPLACE TEMPORARY VIEW part AS SELECT * FROM events WHERE {' AND '.join(wanted) or 'true'}")
        yield


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def run(settings: Settings, connection, days: list[str]) -> dict[str, int]:
    """Replaces the rows of `days` in every table with those that core.events gives, in the caller's transaction; returns the rows made of each."""
    with open_duck(settings) as (duck, _):
        fill(duck, "loaded", EVENTS, connection, "transforms/events", {"days": days})
        make(settings, duck, "SELECT * FROM loaded", days)
        return put(connection, duck, days)


def make(settings: Settings, duck: duckdb.DuckDBPyConnection, events: str, days: list[str]) -> None:
    """Makes the tables MADE in `duck`, or the rows of `days` in them anew, and the view `events` of `events`: a SELECT of these days' events, with the columns EVENTS."""
    _find_bots(settings, duck, events)
    for number, _ in enumerate(_parts(duck)):
        duck.execute(f"CREATE OR REPLACE TABLE visits AS {database.text('transforms/visits')}")
        for name in ("sessions", "search_outcomes", "user_daily", "item_parts"):
            _fill(duck, name, [] if number else days)
    _fill(duck, "item_daily", days)
    duck.execute("DROP TABLE visits; DROP TABLE item_parts")


def _fill(duck: duckdb.DuckDBPyConnection, name: str, days: list[str]) -> None:
    """Adds to the table `name` what its SQL gives, in place of what it had of `days`."""
    made = database.text(f"transforms/{name}")
    duck.execute(f"CREATE TABLE IF NOT EXISTS {name} AS FROM ({made}) LIMIT 0")
    if days:
        duck.execute(f"DELETE FROM {name} WHERE event_day IN (SELECT unnest(?::DATE[]))", [days])
    duck.execute(f"INSERT INTO {name} {made}")


def put(connection, duck: duckdb.DuckDBPyConnection, days: list[str]) -> dict[str, int]:
    """Replaces the rows of `days` in every table of Postgres with those that `make` has made; returns the rows of each."""
    _add_months(connection, days)
    rows = {}
    for name, table in zip(MADE, TABLES, strict=True):
        database.execute(connection, "transforms/clear", {"days": days}, table=table)
        columns = [column for column, *_ in duck.execute(f"DESCRIBE {name}").fetchall()]
        rows[table] = stream(duck, f"SELECT * FROM {name} WHERE event_day IN (SELECT unnest(?::DATE[]))", [days],
                             lambda rows, table=table, columns=columns: database.copy_in(connection, table, columns, rows))
    return rows


def build(settings: Settings, first: str, last: str, echo: Callable[[str], None] = print) -> dict:
    """Makes the tables again for every loaded day from `first` to `last`, from core.events.

    Needed after an upgrade that adds or changes a transform; a load does it by itself. Returns `{"days", "events", "seconds"}`.
    """
    started, done, events = time.monotonic(), 0, 0
    with database.connect(settings.shop_dsn, application="ecomrec transforms") as connection:
        found = [(str(row["day"]), row["rows"]) for row in database.query(connection, "transforms/loaded_days", {"first": first, "last": last})]
    for batch in _batches(found):
        with database.connect(settings.shop_dsn, application=f"ecomrec transforms {batch[0][0]}") as connection:
            tombstones.shield(connection)  # `run` leaves out who has been erased by now, and an erasure or a new key waits for its end
            for day, _ in batch:
                database.lock(connection, f"events {day}")  # a load of the day would make them at the same time
            run(settings, connection, [day for day, _ in batch])
        done, events = done + len(batch), events + sum(rows for _, rows in batch)
        seconds = time.monotonic() - started
        echo(f"{done} of {len(found)} days, {events:,} events, about {seconds / done * (len(found) - done):.0f} s to go")
    return {"days": done, "events": events, "seconds": round(time.monotonic() - started, 1)}


def _batches(days: list[tuple[str, int]]) -> list[list[tuple[str, int]]]:
    """Runs of days with at most BATCH_ROWS events, or single days."""
    batches: list[list[tuple[str, int]]] = []
    for day, rows in days:
        if not batches or sum(count for _, count in batches[-1]) + rows > BATCH_ROWS:
            batches.append([])
        batches[-1].append((day, rows))
    return batches


def _add_months(connection, days: list[str]) -> None:
    """Makes the partitions that `days` need. Two loads may want the same one: the second waits, and finds it."""
    wanted = {"tables": list(TABLES), "days": days}
    if not database.query(connection, "transforms/missing_months", wanted):
        return
    database.lock(connection, "months of the daily tables")
    for month in database.query(connection, "transforms/missing_months", wanted):
        database.execute(connection, "transforms/add_month", {"first": month["first"], "next": month["next"]},
                         table=month["table"], partition=month["partition"])
