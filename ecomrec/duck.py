"""DuckDB on disk, for what is computed outside Postgres: bounded in memory, gone at the end, and streamed into COPY."""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import BinaryIO

import duckdb
import psutil
import psycopg2

from ecomrec import database
from ecomrec.errors import EcomrecError
from ecomrec.settings import Settings

MINE = f"ecomrec-{socket.gethostname()}-"
ROOM = 256 << 20  # bytes: with less on its disk, a step that runs out of memory had nowhere to put the rest


@contextmanager
def open_duck(settings: Settings, memory: str = "") -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A database in a folder of its own, and that folder; both are gone at the end. `memory`: another limit than a load's. Raises EcomrecError when its disk or its memory is full."""
    base = settings.scratch or Path(tempfile.gettempdir())
    base.mkdir(parents=True, exist_ok=True)
    _sweep(base)
    with tempfile.TemporaryDirectory(prefix=f"{MINE}{os.getpid()}-", dir=base) as name, duckdb.connect(f"{name}/scratch.duckdb") as connection:
        try:
            connection.execute(database.text("duck/macros"))
            connection.execute(f"SET memory_limit = '{memory or settings.ingest_memory}'; SET temp_directory = '{name}/spill'; SET TimeZone = 'UTC'; "
                               "SET preserve_insertion_order = true")
            yield connection, Path(name)
        except (duckdb.Error, OSError) as error:
            raise_if_full(error, Path(name))
            raise


def _sweep(base: Path) -> None:
    """Removes what loads of this machine that were killed have left: it is large, and about people."""
    for left in base.glob(f"{MINE}*"):
        pid = left.name.removeprefix(MINE).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def fill(duck: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str], connection, query: str, parameters: dict | None = None, *,
         select: str = "", **identifiers: str) -> None:
    """Makes `table` of the rows that `sql/<query>.sql` gives in Postgres, or of what `select` makes of each. `columns`: name -> DuckDB type, in the query's order."""
    kinds = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    spills = duck.execute("SELECT current_setting('temp_directory')").fetchone()[0]
    with tempfile.NamedTemporaryFile(suffix=".csv", dir=Path(spills).parent) as spool:
        database.copy_out(connection, query, spool.file, parameters, **identifiers)  # the file itself: psycopg2 writes every row by a call
        spool.flush()
        # A quoted empty text is one, an unquoted one is NULL, as Postgres writes them.
        duck.execute(f"CREATE OR REPLACE TABLE {table} AS {select} FROM read_csv(?, header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
                     f"nullstr = '', allow_quoted_nulls = false, columns = {{{kinds}}})", [spool.name])


def stream(connection: duckdb.DuckDBPyConnection, query: str, parameters: list, use: Callable[[BinaryIO], int]) -> int:
    """Runs `use` on a stream of the query's rows as CSV; returns what it returns. Nothing is kept in between."""
    read, write = os.pipe()
    failed: list[duckdb.Error] = []

    def fill() -> None:
        try:
            connection.cursor().execute(f"COPY ({query}) TO '/dev/fd/{write}' (FORMAT csv, HEADER false, USE_TMP_FILE false)", parameters)
        except duckdb.Error as error:
            failed.append(error)
        finally:
            os.close(write)

    writer = Thread(target=fill, name="rows")
    with open(read, "rb", buffering=0) as stream:
        writer.start()
        try:
            used = use(_Checked(stream, writer, failed))
        except psycopg2.errors.QueryCanceled:
            if failed:  # psycopg2 tells Postgres that the stream broke, and reports only that
                raise failed[0] from None
            raise
        finally:
            stream.close()  # a writer that still writes gets a broken pipe, and ends
            writer.join()
    return used


class _Checked:
    """A stream whose end is an error when its writer failed: a half-written table must not look like a whole one."""

    def __init__(self, stream: BinaryIO, writer: Thread, failed: list):
        self._stream, self._writer, self._failed = stream, writer, failed

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        if not chunk:
            self._writer.join()
            if self._failed:
                raise self._failed[0]
        return chunk


def raise_if_full(error: duckdb.Error | OSError, folder: Path) -> None:
    """Says what to do about a disk or a memory limit that is full; returns for any other error."""
    text = str(error)
    starved = isinstance(error, duckdb.OutOfMemoryException)
    # A step that cannot put aside what does not fit reports now the disk, now its memory, whichever it meets first.
    if "No space left" in text or "max_temp_directory_size" in text or (starved and shutil.disk_usage(folder).free < ROOM):
        raise EcomrecError(f"no disk space left for a load in {folder.parent}: {text.splitlines()[0]}",
                           "free space there, or name another folder with ECOMREC_SCRATCH, and run it again; what was live stays") from error
    if starved:
        raise EcomrecError(f"a step needs more memory than it may take: {text.splitlines()[0]}",
                           "raise ECOMREC_PROFILE_MEMORY (profiles, promotions, related products) or ECOMREC_INGEST_MEMORY (loads) and run it again; what was live stays") from error
