"""What is made of a day's events: bots, sessions, search outcomes, and a row per item and per user.

Each day's rows depend on that day's events alone and are replaced as a whole, so days may be loaded in any order, any
number of times. The SQL in `sql/transforms/` is the definition; this module only says in which order it runs.
"""

import time
from collections.abc import Callable

from ecomrec import database
from ecomrec.settings import Settings

TABLES = ("core.bot_users", "core.sessions", "core.search_outcomes", "core.item_daily", "core.user_daily")  # in the order in which they are made
BATCH_ROWS = 2_000_000  # events of one statement when many days are made again: its sorts then fit on any disk


def bot_limits(settings: Settings) -> dict[str, int]:
    """Parameters of `transforms/bot_users`: what a person does not do."""
    return {"a_minute": settings.bot_actions_a_minute, "a_day": settings.bot_actions_a_day, "hours": settings.bot_hours_a_day}


def run(settings: Settings, connection, source: str, days: list[str]) -> dict[str, int]:
    """Replaces the rows of `days` in every table, in the caller's transaction; returns the rows made of each table.

    `source` has the columns of core.events: that table, or a partition that is not attached yet, so that a load can make
    everything before it takes the lock that readers would wait for.
    """
    parameters = {"days": days}
    _add_months(connection, days)
    rows = {TABLES[0]: database.execute(connection, "transforms/bot_users", {**parameters, **bot_limits(settings)}, source=source, target=TABLES[0])}
    database.execute(connection, "transforms/visits", parameters, source=source)
    for table in TABLES[1:]:
        rows[table] = database.execute(connection, f"transforms/{table.removeprefix('core.')}", parameters)
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
            for day, _ in batch:
                database.lock(connection, f"events {day}")  # a load of the day would make them at the same time
            run(settings, connection, "core.events", [day for day, _ in batch])
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
