"""A staging table that is gone after its load, also when the load was killed."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from ecomrec import database
from ecomrec.settings import Settings


@contextmanager
def staging_table(settings: Settings, kind: str, model: str) -> Iterator[str]:
    """A new unlogged table with the columns of `model`, dropped at the end.

    Its load holds a lock on its name; a table whose lock is free belongs to a load that was killed, and is dropped here.
    """
    table = f"staging.{kind}_{secrets.token_hex(6)}"
    with database.connect(settings.shop_dsn, application="ecomrec staging") as guard:
        database.lock(guard, table)
        with database.connect(settings.shop_dsn, application="ecomrec staging") as connection:
            for row in database.query(connection, "ingest/leftovers"):
                if database.lock_if_free(connection, f"staging.{row['name']}"):
                    database.execute(connection, "ingest/drop", table=f"staging.{row['name']}")
            database.execute(connection, "ingest/create_staging", table=table, model=model)
        try:
            yield table
        finally:
            try:
                with database.connect(settings.shop_dsn, application="ecomrec staging") as connection:
                    database.execute(connection, "ingest/drop", table=table)
            except (psycopg2.Error, database.DatabaseDown):
                pass  # the next load drops it; what went wrong before is what matters
