"""Where a load parses its files: a DuckDB on disk, bounded in memory, gone at the end.

The table `parsed` has a row for every row read: `day, file, line, <fields of the contract>, reason, dropped, payload, shape`
(`projection` explains them). `rowid` is the order in which rows came; a row's line is its distance from its file's first.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import duckdb

from ecomrec.contract import Contract
from ecomrec.duck import open_duck, raise_if_full, stream
from ecomrec.errors import InputError
from ecomrec.ingest.files import LONGEST_LINE, STAYS, File, delivered, fetch
from ecomrec.ingest.mapping import Mapping, load_mapping, plain_fields, steps, user_field
from ecomrec.ingest.mend import mend
from ecomrec.ingest.projection import arriving, projection, too_deep
from ecomrec.privacy import pseudonyms
from ecomrec.privacy.arriving import prepare
from ecomrec.settings import Settings
from ecomrec.store import open_store

LINES = ("read_csv(?, columns = {'payload': 'VARCHAR'}, delim = '\\x01', quote = '', escape = '', header = false, auto_detect = false, strict_mode = false, "
         f"max_line_size = {LONGEST_LINE}, buffer_size = {2 * LONGEST_LINE}, compression = '%s')")
ROWS = ("read_csv(?, all_varchar = true, header = true, hive_partitioning = false, %s, "
        f"max_line_size = {LONGEST_LINE}, compression = '%s')")
REJECTS = "store_rejects = true, rejects_limit = 0"
DATA = re.compile(r"\d{4}|@")  # what no name of a field has, and each event: a time, an id
SHAPES = 1_000  # rows a file whose JSON structure is looked at
GOOD = "reason IS NULL AND dropped IS NULL"


@dataclass
class Counts:
    """Rows of one day: read = good + rejected + dropped + duplicate. `reasons`: why not good → rows."""

    read: int = 0
    good: int = 0
    rejected: int = 0
    dropped: int = 0
    duplicate: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


class Scratch:
    """One load's files, parsed. `files`: those read so far; a file's place in it is its number in `parsed`."""

    def __init__(self, settings: Settings, contract: Contract, mapping: Mapping, connection: duckdb.DuckDBPyConnection, folder: Path):
        self.settings, self.contract, self.mapping, self.folder = settings, contract, mapping, folder
        self.duck, self.store, self.files = connection, open_store(settings), []
        self.duck.create_function("too_deep", too_deep, ["VARCHAR"], "BOOLEAN")
        if contract.kind == "events":
            prepare(connection, pseudonyms.of(settings), user_field(mapping), plain_fields(mapping))
        columns = ", ".join(f"{name} {field.duckdb}" for name, field in contract.fields.items())
        self.duck.execute(f"CREATE TABLE parsed (day DATE, file INTEGER, line BIGINT, {columns}, reason VARCHAR, dropped VARCHAR, payload VARCHAR, shape VARCHAR)")

    def read_day(self, day: str) -> list[File]:
        """Parses the day's files. Raises InputError naming what is missing, broken, of an unknown format or still being written."""
        files = fetch(self.store, self.contract.kind, day, self.folder)
        self.read(files)
        now = {found.key: found.etag for found in delivered(self.store, self.contract.kind, day)}
        if changed := [file.key for file in files if now.get(file.key) != file.etag]:
            raise InputError(f"{changed[0]} changed while it was read", f"run {day} again when its delivery is complete; {STAYS}")
        return files

    def read(self, files: list[File], any_day: bool = False) -> None:
        """Parses files, in order; JSON Lines of one compression are read at once, which is what parallel reading needs.

        `any_day`: times are not held against the files' day, and the column `day` is NULL.
        """
        self._any_day = any_day
        base = len(self.files)
        self.files += files
        pending: list[tuple[int, File]] = []
        for number, file in enumerate(files, base):
            if pending and (file.format != "json" or file.compression != pending[0][1].compression):
                self._json(pending)
                pending = []
            if file.format == "json":
                pending.append((number, file))
            else:
                self._table(number, file)
        if pending:
            self._json(pending)

    def _json(self, files: list[tuple[int, File]]) -> None:
        """Reads JSON Lines. Every line is accounted for: what DuckDB's fast reader gave up, or passed over, is read again with care."""
        with ThreadPoolExecutor(1) as pool:  # beside DuckDB, which keeps nothing of Python waiting
            lines = [pool.submit(file.lines) for _, file in files]
            try:
                self._insert(files[0][0], [file.path for _, file in files], files[0][1], f"SELECT file_index AS file, payload FROM {LINES % files[0][1].compression}")
            except duckdb.Error as error:
                raise_if_full(error, self.folder)
                found = {}
            else:
                found = dict(self.duck.execute("SELECT file, count(*) FROM parsed WHERE file BETWEEN ? AND ? GROUP BY file", [files[0][0], files[-1][0]]).fetchall())
            for (number, file), counted in zip(files, lines, strict=True):
                if counted.result() != found.get(number, 0):
                    self.duck.execute("DELETE FROM parsed WHERE file = ?", [number])
                    self._with_care(number, file)

    def _with_care(self, number: int, file: File) -> None:
        try:
            self._insert(number, [mend(file, self.folder)], file, f"SELECT file_index AS file, payload FROM {LINES % 'none'}")
        except duckdb.Error as error:
            raise_if_full(error, self.folder)
            raise _broken(file, error) from error

    def _table(self, number: int, file: File) -> None:
        try:
            reader = "read_parquet(?, hive_partitioning = false)" if file.format == "parquet" else ROWS % (REJECTS + self._names(file), file.compression)
            self._insert(number, [file.path], file, f"SELECT 0 AS file, to_json(t)::VARCHAR AS payload FROM {reader} t")
        except duckdb.Error as error:
            raise_if_full(error, self.folder)
            raise _broken(file, error) from error
        if file.format == "csv":
            self.duck.execute("INSERT INTO parsed (day, file, line, reason, payload) "
                              f"SELECT ?::DATE, ?, line, 'not a row of this CSV: ' || min(error_message), {arriving(self.contract, 'payload', 'min(csv_line)')} FROM reject_errors GROUP BY line", [file.day, number])
            self.duck.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")

    def _names(self, file: File) -> str:
        """SQL: names for the columns of a CSV whose first line is an event, as somebody forgot the header: what is in it must not be kept as the names of fields."""
        found = [name for name, *_ in self.duck.execute(f"DESCRIBE SELECT * FROM {ROWS % ('ignore_errors = true', file.compression)}", [str(file.path)]).fetchall()]
        known = {steps(path)[0] for path in self.mapping.used()}
        if self.contract.kind != "events" or known.intersection(found) or not any(map(DATA.search, found)):
            return ""
        return f", names = {[f'column{number}' for number in range(1, len(found) + 1)]}"

    def _insert(self, base: int, paths: list[Path], file: File, source: str) -> None:
        every = max(1, file.rows_about() // SHAPES)
        day = 'NULL::DATE' if self._any_day else f"DATE '{file.day}'"
        source = f"SELECT {day} AS day, ({base} + file)::INTEGER AS file, payload FROM ({source})"
        self.duck.execute(f"INSERT INTO parsed BY NAME {projection(self.settings, self.contract, self.mapping, source, every)}", [list(map(str, paths))])

    def leave_out(self, users: list[str]) -> None:
        """Drops the rows of people who were erased; nothing of what they did is kept."""
        self.duck.execute("UPDATE parsed SET dropped = 'erased on request', reason = NULL, payload = NULL WHERE user_id IN (SELECT unnest(?))", [users])

    def mark_duplicates(self) -> None:
        """Makes the table `doubles`: the rowids of good rows whose key the day has already. Of events the first stays, of products what was said last:
        a delta beside a snapshot is what changed after it, whatever their names are; then the newest row, then the last."""
        key, order = self.contract.key, "file, rowid"
        if self.contract.kind == "catalog":
            snapshots = [number for number, file in enumerate(self.files) if file.snapshot]
            order = f"list_contains({snapshots}::INTEGER[], file), updated_at DESC NULLS LAST, file DESC, rowid DESC"
        # A hash is small, so most keys are cleared without keeping their texts; only what collides is looked at.
        self.duck.execute(f"""
            CREATE TABLE doubles AS SELECT day, row FROM (
                SELECT day, rowid AS row, row_number() OVER (PARTITION BY day, {key} ORDER BY {order}) AS number FROM parsed
                WHERE {GOOD} AND hash(day, {key}) IN (SELECT h FROM (SELECT hash(day, {key}) AS h FROM parsed WHERE {GOOD}) GROUP BY h HAVING count(*) > 1))
            WHERE number > 1""")

    def counts(self) -> dict[str, Counts]:
        """Of each day that has rows."""
        counts = {str(day): Counts(*found) for day, *found in self.duck.execute(f"""
            SELECT day, count(*), count(*) FILTER (WHERE {GOOD}) - coalesce(any_value(twice), 0), count(*) FILTER (WHERE reason IS NOT NULL),
                   count(*) FILTER (WHERE dropped IS NOT NULL), coalesce(any_value(twice), 0)
            FROM parsed LEFT JOIN (SELECT day, count(*) AS twice FROM doubles GROUP BY day) USING (day) GROUP BY day""").fetchall()}
        for day, reason, number in self.duck.execute("""
            SELECT day, coalesce(dropped, split_part(reason, ': ', 1)) AS why, count(*) FROM parsed WHERE reason IS NOT NULL OR dropped IS NOT NULL
            GROUP BY day, why QUALIFY row_number() OVER (PARTITION BY day ORDER BY count(*) DESC, why) <= 50""").fetchall():
            counts[str(day)].reasons[reason[:200]] = number
        return counts

    def file_rows(self) -> dict[int, int]:
        """Rows read of each file, by its number."""
        return dict(self.duck.execute("SELECT file, count(*) FROM parsed GROUP BY file").fetchall())

    def shapes(self, day: str) -> list[tuple[str, bool, int]]:
        """`(JSON structure, whether its types mean something, rows)` of the sampled rows of a day; in CSV all is text."""
        typeless = [number for number, file in enumerate(self.files) if file.format == "csv"]
        return self.duck.execute("SELECT shape, NOT list_contains(?::INTEGER[], file) AS typed, count(*) FROM parsed WHERE day = ?::DATE AND shape IS NOT NULL "
                                 "GROUP BY shape, typed", [typeless, day]).fetchall()

    def example(self, day: str, beginning: str = "") -> str:
        """The day's most frequent reason, of those that begin so, with the first place where it occurs."""
        number, line, reason = self.duck.execute(f"SELECT file, line, reason FROM ({self.refused()}) WHERE starts_with(reason, ?) ORDER BY count(*) OVER (PARTITION BY reason) DESC, reason, file, line LIMIT 1",
                                                 [day, beginning]).fetchone()
        return f"{reason} ({self.files[number].key} line {line})"

    def refused(self) -> str:
        """SQL: `file, line, reason, payload` of the refused rows of the day that is its parameter."""
        return ("SELECT file, coalesce(line, rowid - first + 1) AS line, reason[:500] AS reason, payload FROM parsed JOIN "
                "(SELECT file, min(rowid) AS first FROM parsed GROUP BY file) USING (file) WHERE reason IS NOT NULL AND day = ?::DATE")

    def good(self, columns: str) -> str:
        """SQL: the day's rows to load, in order; the day is its parameter."""
        return f"SELECT {columns} FROM parsed WHERE day = ?::DATE AND {GOOD} AND rowid NOT IN (SELECT row FROM doubles)"

    def events(self, days: list[str]) -> str:
        """SQL: the days' rows to load, as `transforms.run` reads them."""
        listed = ", ".join(f"DATE '{day}'" for day in days)
        return (f"SELECT day AS event_day, event_id, event_time, user_id, session_id, event_type, item_id, query, position, price, quantity, "
                f"coalesce(context ->> 'simulated' = 'true', false) AS simulated FROM parsed WHERE day IN ({listed}) AND {GOOD} "
                "AND rowid NOT IN (SELECT row FROM doubles)")

    def leave_out_known(self, day: str, events: list[str]) -> None:
        """Counts the day's rows of these ids as duplicates: a neighbouring day has them."""
        self.duck.execute(f"INSERT INTO doubles SELECT day, rowid FROM parsed WHERE day = ?::DATE AND {GOOD} AND event_id IN (SELECT unnest(?)) "
                          "AND rowid NOT IN (SELECT row FROM doubles)", [day, events])

    def refuse(self, day: str, line: int, reason: str) -> None:
        """Sets aside the good row that ends on `line` (from 1) of what `stream` made of the day: a text may span lines."""
        texts = ", ".join(name for name, kind in self.contract.fields.items() if kind.duckdb in ("VARCHAR", "JSON"))
        (row,) = self.duck.execute(f"""
            SELECT row FROM (SELECT row, sum(1 + length(texts) - length(replace(texts, chr(10), ''))) OVER (ORDER BY row) AS ends
                             FROM ({self.good(f"rowid AS row, concat({texts}) AS texts")})) WHERE ends >= ? ORDER BY row LIMIT 1""", [day, line]).fetchone()
        fields = ", ".join(f"{name}: {name}" for name in self.contract.fields)
        self.duck.execute(f"UPDATE parsed SET reason = ?, payload = to_json({{{fields}}})::VARCHAR WHERE rowid = ?", [reason, row])

    def stream(self, query: str, parameters: list, use: Callable[[BinaryIO], int]) -> int:
        """See `ecomrec.duck.stream`."""
        return stream(self.duck, query, parameters, use)


@contextmanager
def open_scratch(settings: Settings, contract: Contract, mapping: Mapping | None = None) -> Iterator[Scratch]:
    """A Scratch in a folder of its own that is gone at the end. `mapping`: the settings' one when not given."""
    if mapping is None:
        mapping = load_mapping(settings, contract.kind)
    with open_duck(settings) as (connection, folder):
        yield Scratch(settings, contract, mapping, connection, folder)


def _broken(file: File, error: Exception) -> InputError:
    return InputError(f"{file.key} cannot be read: {str(error).splitlines()[0]}",
                      f"the file is broken, cut off or not what its name says; have it delivered again and run the day again; {STAYS}")
