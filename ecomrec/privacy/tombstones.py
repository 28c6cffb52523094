"""Who was erased, and the barrier that keeps whatever was under way from bringing them back.

Whoever writes user ids does so in a transaction that begins with `shield` and ends with `purge`: then an erasure either
waits for its end, or has set its tombstone before and is seen by the purge.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecomrec import database
from ecomrec.errors import SettingsError
from ecomrec.privacy import pseudonyms
from ecomrec.privacy.traces import ERASED
from ecomrec.settings import Settings

BARRIER = "erasure"


def bury(settings: Settings, users: list[str]) -> None:
    """Sets the tombstones of `users` (pseudonyms), then waits for the end of every transaction that may not have seen them."""
    with database.connect(settings.shop_dsn, application="ecomrec erase") as connection:
        database.execute(connection, "privacy/tombstone", {"pseudonyms": users})
    with database.connect(settings.shop_dsn, application="ecomrec erase") as connection:
        database.lock(connection, BARRIER)


def erased(settings: Settings) -> list[str]:
    """The pseudonyms of all who were erased."""
    with database.connect(settings.shop_dsn, application="ecomrec erased") as connection:
        return [row["user_id"] for row in database.query(connection, "privacy/erased")]


def shield(connection) -> None:
    """From here to the end of the transaction an erasure waits, and a change of the key."""
    database.lock_shared(connection, BARRIER)


def same_key(connection, keys: pseudonyms.Pseudonyms) -> None:
    """Raises SettingsError when the ids were made with `keys` and the key has changed since. It looks at core.events: whoever has to wait for a lock asks this afterwards."""
    if pseudonyms.remembered(connection) != keys.fingerprint():
        raise SettingsError("the key of the user ids was changed while this ran", "run it again with the new ECOMREC_USER_KEY; nothing of it was kept")


def purge(connection, table: str) -> int:
    """Deletes from a table that this transaction has filled who has been erased; returns the rows."""
    return database.execute(connection, "privacy/purge", table=table)


@contextmanager
def blanked(settings: Settings, file: Path, column: str) -> Iterator[int]:
    """Takes who has been erased out of a column of a Parquet file that was made from what was read before, and gives the number of cells. For files that
    take long to make: an erasure meanwhile has searched them already. The next one waits until the block ends, in which the file is brought to where it is searched.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with database.connect(settings.shop_dsn, application="ecomrec blank") as connection:
        shield(connection)
        gone, table = [row["user_id"] for row in database.query(connection, "privacy/erased")], pq.read_table(file)
        held = pc.is_in(table[column], value_set=pa.array(gone, table[column].type))
        if count := pc.sum(held).as_py() or 0:
            table = table.set_column(table.column_names.index(column), column, pc.if_else(held, pa.scalar(ERASED, table[column].type), table[column]))
            made = file.with_name(f".{file.name}")
            pq.write_table(table, made)
            os.replace(made, file)
        yield count
