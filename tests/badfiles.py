"""Deliveries that are not in order: two files a day, the first good, the second as each case makes it, with what must become of them."""

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet

from ecomrec.settings import Settings

DAY = "2017-03-01"
ROWS = 400


def event(number: int, **changes) -> dict:
    return {"event_id": f"e{number}", "event_time": f"{DAY}T10:{number % 60:02}:00Z", "user_id": f"u{number % 7}", "event_type": "search" if number % 4 == 0 else "purchase",
            "item_id": f"i{number % 5}", "query": 'say "cheese",\nplease' if number % 4 == 0 else None, "price": 1.5, "quantity": 2, **changes}


FIRST, SECOND = [event(number) for number in range(ROWS // 2)], [event(number) for number in range(ROWS // 2, ROWS)]


def lines(records: list) -> bytes:
    return "".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records).encode()


def as_csv(records: list[dict], extra: str = "") -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return (stream.getvalue() + extra).encode()


def as_parquet(records: list[dict]) -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), stream)
    return stream.getvalue()


def zstd(content: bytes) -> bytes:
    return pyarrow.Codec("zstd").compress(content, asbytes=True)


def wrong_checksum(content: bytes) -> bytes:
    packed = gzip.compress(content)
    return packed[:-8] + bytes(byte ^ 0xFF for byte in packed[-8:-4]) + packed[-4:]


# name → (name and bytes of the second file, what becomes of the day: rows loaded and set aside, or words of the refusal)
Case = tuple[Callable[[], tuple[str, bytes]], tuple[int, int] | str]
BAD_FILES: dict[str, Case] = {
    "gzip cut off": (lambda: ("part-001.jsonl.gz", gzip.compress(lines(SECOND))[:-300]), "part-001.jsonl.gz cannot be read"),
    "gzip with a wrong checksum": (lambda: ("part-001.jsonl.gz", wrong_checksum(lines(SECOND))), "part-001.jsonl.gz cannot be read"),
    "gzip without a byte": (lambda: ("part-001.jsonl.gz", b""), "part-001.jsonl.gz is cut off"),
    "zstd cut off": (lambda: ("part-001.jsonl.zst", zstd(lines(SECOND))[:-300]), "part-001.jsonl.zst cannot be read"),
    "Parquet cut off": (lambda: ("part-001.parquet", as_parquet(SECOND)[:-50]), "part-001.parquet cannot be read"),
    "no Parquet inside": (lambda: ("part-001.parquet", b"not parquet at all"), "part-001.parquet cannot be read"),
    "an unknown format": (lambda: ("part-001.xlsx", b"PK"), "part-001.xlsx is of no known format"),
    "pretty-printed JSON": (lambda: ("part-001.json", json.dumps(SECOND, indent=1).encode()), "rows break the contract"),
    "noise": (lambda: ("part-001.jsonl", os.urandom(20_000)), "rows break the contract"),
    "another day's events": (lambda: ("part-001.jsonl.gz", gzip.compress(lines([{**row, "event_time": "2016-01-01T00:00:00Z"} for row in SECOND]))), "rows break the contract"),
    "numbers that became texts": (lambda: ("part-001.jsonl.gz", gzip.compress(lines([{**row, "price": "about 2"} for row in SECOND]))), "rows break the contract"),
    "plain under the name of gzip": (lambda: ("part-001.jsonl.gz", lines(SECOND)), (400, 0)),
    "gzip under a plain name": (lambda: ("part-001.jsonl", gzip.compress(lines(SECOND))), (400, 0)),
    "zstd": (lambda: ("part-001.jsonl.zst", zstd(lines(SECOND))), (400, 0)),
    "a byte order mark": (lambda: ("part-001.jsonl", b"\xef\xbb\xbf" + lines(SECOND)), (400, 0)),
    "UTF-16": (lambda: ("part-001.jsonl.gz", gzip.compress(lines(SECOND).decode().encode("utf-16"))), (400, 0)),
    "line ends of Windows": (lambda: ("part-001.jsonl", lines(SECOND).replace(b"\n", b"\r\n")), (400, 0)),
    "no line end at the end": (lambda: ("part-001.jsonl", lines(SECOND).rstrip()), (400, 0)),
    "CSV with commas, quotes and line breaks": (lambda: ("part-001.csv", as_csv(SECOND)), (400, 0)),
    "Parquet": (lambda: ("part-001.parquet", as_parquet(SECOND)), (400, 0)),
    "the same file twice": (lambda: ("part-001.jsonl.gz", gzip.compress(lines([*SECOND, *FIRST]))), (400, 0)),
    "a CSV row of too many fields": (lambda: ("part-001.csv", as_csv(SECOND, "a,b,c,d,e,f,g,h,i,j\r\n")), (400, 1)),
    "a line of 50 MB": (lambda: ("part-001.jsonl", lines([*SECOND, event(900, query="x" * 50_000_000)])), (400, 1)),
    "a line that is not UTF-8": (lambda: ("part-001.jsonl", lines(SECOND) + b'{"event_id": "e900", "query": "\xff\xfe"}\n'), (400, 1)),
    "a hundred thousand brackets": (lambda: ("part-001.jsonl.gz", gzip.compress(lines([*SECOND, '{"a":' * 100_000]))), (400, 1)),
    "a line cut in the middle": (lambda: ("part-001.jsonl", lines(SECOND) + lines([event(900)])[:40]), (400, 1)),
}


def give(settings: Settings, name: str = "") -> None:
    """Writes the day: two good files, or the first and the second of the case `name`."""
    folder = Path(settings.store.removeprefix("file://")) / "raw" / "events" / f"dt={DAY}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    file, content = BAD_FILES[name][0]() if name else ("part-001.jsonl.gz", gzip.compress(lines(SECOND)))
    (folder / "part-000.jsonl.gz").write_bytes(gzip.compress(lines(FIRST)))
    (folder / file).write_bytes(content)
