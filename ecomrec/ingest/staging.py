"""Staging tables that are gone after their load, also when the load was killed."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import psycopg2

from ecomrec import database
from ecomrec.errors import DatabaseDown
from ecomrec.settings import Settings


def sweep(connection) -> int:
    """Drops the tables of loads that were killed; returns how many."""
    dropped = 0
    for row in database.query(connection, "ingest/leftovers"):
        if database.lock_if_free(connection, f"staging.{row['name']}"):
            database.execute(connection, "ingest/drop", table=f"staging.{row['name']}")
            dropped += 1
    return dropped


@contextmanager
def staging_table(settings: Settings, kind: str, create: str, **identifiers: str) -> Iterator[str]:
    """A new table made by `sql/<create>.sql`, dropped at the end.

    Its load holds a lock on its name; a table whose lock is free belongs to a load that was killed, and is dropped here.
    """
    table = f"staging.{kind}_{secrets.token_hex(6)}"
    with database.connect(settings.shop_dsn, application="ecomrec staging") as guard:
        database.lock(guard, table)
        with database.connect(settings.shop_dsn, application="ecomrec staging") as connection:
            sweep(connection)
            database.execute(connection, create, table=table, **identifiers)
        try:
            yield table
        finally:
            # When this fails too, the next load drops it; what went wrong before is what matters.
            with suppress(psycopg2.Error, DatabaseDown), database.connect(settings.shop_dsn, application="ecomrec staging") as connection:
                database.execute(connection, "ingest/drop", table=table)


def leaf(table: str, day: str) -> str:
    """The partition of a staging table that holds one day."""
    return f"{table}_{day.replace('-', '')}"


class Indexing:
    """Builds the indexes of staged days on a thread of its own, while the checks run. A `with` block; its end waits."""

    def __init__(self, settings: Settings, table: str, days: list[str]):
        self._thread = Thread(target=self._build, args=(settings, table, days), name="indexes")
        self._failed: list[Exception] = []
        self.seconds = 0.0

    def _build(self, settings: Settings, table: str, days: list[str]) -> None:
        began = time.monotonic()
        try:
            for day in days:
                with database.connect(settings.shop_dsn, application=f"ecomrec index {day}") as connection:
                    database.execute(connection, "ingest/index_staged_day", {"leaf": leaf(table, day)}, leaf=leaf(table, day))
        except Exception as error:
            self._failed.append(error)
        self.seconds = round(time.monotonic() - began, 3)

    def __enter__(self) -> "Indexing":
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._thread.join()
        if self._failed and kind is None:
            raise self._failed[0]
