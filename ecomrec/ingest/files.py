"""The files of a day: listed, fetched, and recognised by name and first bytes. JSON Lines, CSV, Parquet; plain, gzip, zstd."""

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import BinaryIO

from ecomrec.errors import InputError
from ecomrec.store import Object, Store

FORMATS = {".jsonl": "json", ".json": "json", ".ndjson": "json", ".csv": "csv", ".parquet": "parquet"}
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
LONGEST_LINE = 4_000_000  # bytes; a longer one is set aside, not loaded
STAYS = "what was live stays"


@dataclass(frozen=True)
class File:
    """One file of one day, as it was when it was read."""

    day: str
    key: str
    etag: str
    bytes: int
    path: Path
    format: str
    compression: str

    @property
    def snapshot(self) -> bool:
        """Whether it is a whole catalogue: what it leaves out is marked deleted."""
        return self.key.rsplit("/", 1)[-1].startswith("snapshot")

    def sha256(self) -> str:
        """Of the bytes that were read."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def lines(self) -> int:
        """Lines of a text file, every byte of which is read and held against its checksum. Raises InputError when it is cut off or broken."""
        number, last = 0, b"\n"
        with whole(self, lambda: number), open_plain(self) as stream:
            while part := stream.read(1 << 20):
                number, last = number + part.count(b"\n"), part
        return number + (not last.endswith(b"\n"))

    def rows_about(self) -> int:
        """Roughly how many rows it has."""
        return max(1, self.bytes // (250 if self.compression == "none" and self.format == "json" else 40))


def days_between(first: str, last: str) -> list[str]:
    """All days from `first` to `last`, both included."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    if end < start:
        raise InputError(f"the last day {last} is before the first day {first}", "swap them")
    return [str(start + timedelta(days=number)) for number in range((end - start).days + 1)]


def delivered(store: Store, kind: str, day: str) -> list[Object]:
    """The objects of `raw/<kind>/dt=<day>/` that count, in order: names that begin with `.` or `_` do not."""
    return [found for found in store.objects(f"raw/{kind}/dt={day}") if not Path(found.key).name.startswith(("_", "."))]


def fetch(store: Store, kind: str, day: str, folder: Path) -> list[File]:
    """Fetches a day's files. Raises InputError naming the folder or file that is missing or of an unknown format."""
    found = delivered(store, kind, day)
    if not found:
        raise InputError(f"no files for {day}: raw/{kind}/dt={day}/ is missing or empty",
                         f"check that the log shipper has delivered the day, then run it again; {STAYS}")
    for one in found:
        _format(one.key)  # before anything is fetched
    return [recognise(day, one, store.fetch(one.key, folder)) for one in found]


@contextmanager
def whole(file: File, line: Callable[[], int]) -> Iterator[None]:
    """Raises InputError, saying after which line, when reading the file shows that it is broken or cut off."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the file
        raise InputError(f"{file.key} cannot be read past line {line():,}: {error}",
                         f"the file is broken or cut off; have it delivered again and run the day again; {STAYS}") from error


def open_plain(file: File) -> BinaryIO:
    """The file's bytes, decompressed."""
    if file.compression == "zstd":
        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(str(file.path), compression="zstd"), 1 << 20)
    return gzip.open(file.path, "rb") if file.compression == "gzip" else file.path.open("rb")


def recognise(day: str, found: Object, path: Path) -> File:
    """Format by name; compression by the first bytes, which names get wrong."""
    with path.open("rb") as stream:
        start = stream.read(4)
    compression = next((name for magic, name in MAGIC.items() if start.startswith(magic)), "none")
    kind = "parquet" if start == b"PAR1" else _format(found.key)
    named = {".gz": "gzip", ".zst": "zstd"}.get(Path(found.key).suffix.lower())
    if found.bytes == 0 and named:
        raise InputError(f"{found.key} is cut off: it has no bytes at all, not even a {named} header", f"have it delivered again and run the day again; {STAYS}")
    return File(day, found.key, found.etag, found.bytes, path, kind, compression)


def _format(key: str) -> str:
    bare = key.lower().removesuffix(".gz").removesuffix(".zst")
    kind = FORMATS.get(Path(bare).suffix)
    if kind is None:
        raise InputError(f"{key} is of no known format", "name files *.jsonl, *.csv or *.parquet, plain or with .gz or .zst; the day was not loaded")
    return kind
