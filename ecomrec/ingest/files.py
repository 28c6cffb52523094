"""Reads a day's files with DuckDB: every line with the file and number it came from, whatever the format.

JSON Lines, CSV and Parquet; plain, gzip or zstd. Lines stay text until the contract has been checked, so a broken one
can be set aside as it came.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import duckdb

from ecomrec.errors import InputError
from ecomrec.settings import Settings
from ecomrec.store import open_store

MEMORY_LIMIT = "1GB"  # DuckDB spills to disk beyond this, so a day of any size fits
JSON_ENDINGS, CSV_ENDINGS, PARQUET_ENDINGS = (".jsonl", ".json", ".ndjson"), (".csv",), (".parquet",)
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
NUL = r"(^|[^\\])(\\\\)*\\u0000"  # the escape itself, not an escaped backslash before u0000; Postgres cannot store the character


def days_between(first: str, last: str) -> list[str]:
    """All days from `first` to `last`, both included."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    if end < start:
        raise InputError(f"the last day {last} is before the first day {first}", "swap them")
    return [str(start + timedelta(days=number)) for number in range((end - start).days + 1)]


@contextmanager
def scratch() -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A DuckDB on disk and a folder, both gone at the end."""
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as name:
        folder = Path(name)
        with duckdb.connect(str(folder / "scratch.duckdb")) as connection:
            connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'; SET TimeZone = 'UTC'; SET preserve_insertion_order = true")
            connection.execute("CREATE TABLE lines (day DATE, file VARCHAR, line BIGINT, payload VARCHAR)")
            yield connection, folder


def read_day(connection: duckdb.DuckDBPyConnection, settings: Settings, kind: str, day: str, folder: Path) -> list[str]:
    """Appends the lines of `raw/<kind>/dt=<day>/` to the table `lines`; returns the keys read, in order.

    Raises InputError naming the folder or file that is missing, broken or of an unknown format.
    """
    store = open_store(settings)
    prefix = f"raw/{kind}/dt={day}"
    keys = [key for key, _ in store.list(prefix) if not Path(key).name.startswith("_")]
    if not keys:
        raise InputError(f"no files for {day}: {settings.store}/{prefix}/ is missing or empty",
                         "check that the log shipper has delivered the day, then run it again; what was live stays")
    for key in keys:
        path = store.fetch(key, folder)
        try:
            connection.execute(f"INSERT INTO lines SELECT ?::DATE, ?, row_number() OVER (), payload FROM ({_reader(key)})", [day, key, str(path)])
        except duckdb.Error as error:
            raise InputError(f"{key} cannot be read: {str(error).splitlines()[0]}",
                             "the file is broken or cut off; have it delivered again and run the day again; what was live stays") from error
    return keys


def check_lines(connection: duckdb.DuckDBPyConnection, fields: dict[str, str], reason: str) -> dict[str, tuple[int, int]]:
    """Makes the table `checked` from `lines`: each text field of the contract, and `reason` (NULL: a good row).

    `reason` is a SQL expression over the fields and `valid`, whether the line is a JSON object. Returns rows read and
    rows rejected of each day.
    """
    texts = ", ".join(f"nullif(json_extract_string(object, '$.{name}'), '') AS \"{name}\"" for name, kind in fields.items() if kind != "JSON")
    connection.execute(f"""
        CREATE OR REPLACE TABLE checked AS
        SELECT *, CASE WHEN regexp_matches(payload, '{NUL}') THEN 'holds a NUL character (\\u0000)' ELSE {reason} END AS reason FROM (
            SELECT day, file, line, payload, object, valid, {texts} FROM (
                SELECT *, CASE WHEN valid THEN parsable ELSE '{{}}' END AS object FROM (
                    SELECT *, json_type(parsable) = 'OBJECT' AS valid FROM (
                        SELECT *, CASE WHEN json_valid(payload) THEN payload ELSE 'null' END AS parsable FROM lines))))""")
    rows = connection.execute("SELECT day, count(*), count(*) FILTER (WHERE reason IS NOT NULL) FROM checked GROUP BY day").fetchall()
    return {str(day): (read, rejected) for day, read, rejected in rows}


def rejected_rows(connection: duckdb.DuckDBPyConnection, kind: str, day: str) -> list[tuple]:
    """The day's bad rows as rows of ops.rejected_rows."""
    return connection.execute("SELECT ?, day, file, line, reason, replace(coalesce(payload, ''), chr(0), '\\u0000') FROM checked WHERE reason IS NOT NULL AND day = ?::DATE ORDER BY file, line",
                              [kind, day]).fetchall()


def worst_reason(connection: duckdb.DuckDBPyConnection, day: str) -> str:
    """The day's most frequent reason, with the first place where it occurs."""
    return connection.execute("SELECT reason || ' (' || arg_min(file || ' line ' || line, line) || ')' FROM checked WHERE reason IS NOT NULL AND day = ?::DATE "
                              "GROUP BY reason ORDER BY count(*) DESC, reason LIMIT 1", [day]).fetchone()[0]


def _reader(key: str) -> str:
    """A query for the column `payload`, one JSON text a row, from the file that is its third parameter."""
    name = key.lower()
    compression = next((value for ending, value in COMPRESSIONS.items() if name.endswith(ending)), "none")
    bare = name.removesuffix(".gz").removesuffix(".zst")
    if bare.endswith(JSON_ENDINGS):
        return ("SELECT payload FROM read_csv(?, columns = {'payload': 'VARCHAR'}, delim = '\\x01', quote = '', escape = '', header = false, "
                f"auto_detect = false, max_line_size = 10000000, compression = '{compression}')")
    if bare.endswith(CSV_ENDINGS):
        return f"SELECT to_json(t)::VARCHAR AS payload FROM read_csv(?, all_varchar = true, header = true, hive_partitioning = false, compression = '{compression}') t"
    if bare.endswith(PARQUET_ENDINGS):
        return "SELECT to_json(t)::VARCHAR AS payload FROM read_parquet(?, hive_partitioning = false) t"
    raise InputError(f"{key} is of no known format", "name files *.jsonl, *.csv or *.parquet, plain or with .gz or .zst; the day was not loaded")
