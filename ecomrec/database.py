"""Postgres, and nothing above it: connections, SQL files, COPY, locks.

SQL lives in `sql/<name>.sql`. Values are psycopg2 parameters (`%(day)s`); the few identifiers that vary (a staging
table, a partition) are `{name}` placeholders, quoted by psycopg2. No SQL is put together from strings.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, BinaryIO, Literal, TextIO

import psycopg2
from psycopg2 import sql as pg

from ecomrec.errors import DatabaseDown, SettingsError
from ecomrec.settings import ROOT

SQL_FOLDER = ROOT / "sql"
LONGEST_ROW = 1 << 24  # bytes of a row as CSV: a line of a shop's file may have 4 MB, and quotes are doubled


@cache
def text(name: str) -> str:
    """What `sql/<name>.sql` says."""
    return (SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def identifier(name: str) -> pg.Identifier:
    """`schema.table` or `column` as a quoted identifier."""
    return pg.Identifier(*name.split("."))


@contextmanager
def connect(dsn: str, *, application: str = "ecomrec") -> Iterator[psycopg2.extensions.connection]:
    """One transaction on a new connection: committed at the end, rolled back on any error, closed either way.

    Raises DatabaseDown, with the remedy, when Postgres cannot be reached or goes away half-way.
    """
    try:
        connection = psycopg2.connect(dsn, application_name=application, connect_timeout=10)
    except psycopg2.ProgrammingError:  # its text repeats the URL, password and all
        raise SettingsError("a database URL is none of Postgres's", "write ECOMREC_DATABASE_URL as postgresql://user:password@host:port/database") from None
    except psycopg2.OperationalError as error:
        raise DatabaseDown(f"cannot connect to Postgres: {str(error).strip()}",
                           "check that it runs (`ecomrec status`) and that ECOMREC_DATABASE_URL is right") from error
    try:
        yield connection
        connection.commit()
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        if connection.closed or "server closed the connection" in str(error) or isinstance(error, psycopg2.errors.AdminShutdown):
            raise DatabaseDown(f"Postgres went away in the middle of a step: {str(error).strip()}",
                               "nothing of this step was kept; bring Postgres back and run the task again") from error
        if isinstance(error, psycopg2.errors.DiskFull):
            raise DatabaseDown(f"Postgres has no disk space left: {str(error).strip()}",
                               "free space on the database's disk and run the task again; nothing of this step was kept") from error
        raise
    finally:
        connection.close()  # rolls back what was not committed


def execute(connection, name: str, parameters: dict[str, Any] | None = None, /, **identifiers: str) -> int:
    """Runs `sql/<name>.sql`; returns the row count of its last statement."""
    with connection.cursor() as cursor:
        cursor.execute(_compose(name, identifiers), parameters or {})
        return cursor.rowcount


def query(connection, name: str, parameters: dict[str, Any] | None = None, /, **identifiers: str) -> list[dict[str, Any]]:
    """Rows of `sql/<name>.sql` as dicts by column name."""
    with connection.cursor() as cursor:
        cursor.execute(_compose(name, identifiers), parameters or {})
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _compose(name: str, identifiers: dict[str, str]) -> pg.Composable:
    return pg.SQL(text(name)).format(**{key: identifier(value) for key, value in identifiers.items()})


def copy_in(connection, table: str, columns: Iterable[str], stream: BinaryIO | TextIO, *, freeze: bool = False, format: Literal["csv", "binary"] = "csv") -> int:
    """COPY `stream` (CSV without header, where empty and unquoted is NULL, or Postgres' binary format) into `table`; returns the rows written.

    `freeze`: the rows need no vacuum ever; for a table that the same transaction has made.
    """
    statement = pg.SQL("COPY {} ({}) FROM STDIN (FORMAT {}{})").format(
        identifier(table), pg.SQL(", ").join(map(pg.Identifier, columns)), pg.SQL(format), pg.SQL(", FREEZE" if freeze else ""))
    with connection.cursor() as cursor:
        cursor.copy_expert(statement, stream, 1 << 18)
        return cursor.rowcount


def copy_line(error: psycopg2.Error) -> int | None:
    """The row (from 1) of the COPY that Postgres refused, when the error names one."""
    found = re.search(r"COPY \S+, line (\d+)", error.diag.context or "")
    return int(found.group(1)) if found else None


def copy_out(connection, name: str, stream: BinaryIO | TextIO, parameters: dict[str, Any] | None = None, /, **identifiers: str) -> None:
    """COPY the rows of the query in `sql/<name>.sql` to `stream` as CSV with a header."""
    with connection.cursor() as cursor:
        inner = cursor.mogrify(_compose(name, identifiers), parameters or {}).decode()
        cursor.copy_expert(f"COPY ({inner.strip().rstrip(';')}) TO STDOUT (FORMAT csv, HEADER)", stream)


def table(connection, name: str, parameters: dict[str, Any] | None = None, types: dict | None = None, /, **identifiers: str):
    """The rows of a query as an Arrow table of these column types (the others by their looks); an empty text stays an empty text.

    They are spooled on disk, so that they need not fit in memory twice.
    """
    import pyarrow.csv

    with tempfile.TemporaryFile() as spool:
        copy_out(connection, name, spool, parameters, **identifiers)
        spool.seek(0)
        return pyarrow.csv.read_csv(spool, pyarrow.csv.ReadOptions(block_size=LONGEST_ROW), pyarrow.csv.ParseOptions(newlines_in_values=True),
                                    pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False))


def rows(found) -> Iterator[dict]:
    """Each row of an Arrow table as a dict, a part of the table at a time: as dicts a table takes many times its memory."""
    for batch in found.to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def codes(column) -> tuple:
    """Distinct values, numpy str [n] in no order, and the code of each row, int32 [rows], of a dictionary column of an Arrow table: an array of
    texts is for each of them as wide as the longest."""
    import numpy as np

    if not len(column):
        return np.zeros(0, dtype="U1"), np.zeros(0, dtype=np.int32)
    whole = column.unify_dictionaries().combine_chunks()
    return whole.dictionary.to_numpy(zero_copy_only=False).astype(str), whole.indices.to_numpy()


def lock(connection, key: str) -> None:
    """Waits for the advisory lock `key`, held until the transaction ends: two loads of one day take turns."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_lock_number(key),))


def lock_shared(connection, key: str) -> None:
    """Waits for the advisory lock `key` as one of many: only a holder of `lock` excludes them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_lock_number(key),))


def lock_if_free(connection, key: str) -> bool:
    """Takes the advisory lock `key` until the transaction ends, unless somebody else holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (_lock_number(key),))
        return cursor.fetchone()[0]


def _lock_number(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big", signed=True)


def array_literal(values: Iterable[Any]) -> str:
    """A Postgres array literal of the values as text, for COPY."""
    return "{" + ",".join('"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values) + "}"
