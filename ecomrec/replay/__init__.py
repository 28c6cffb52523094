"""Replays a public data set as the daily files that a shop's log shipper would write: `raw/events/dt=…`, `raw/catalog/dt=…`.

One small module per data set. It offers `events(connection, first, last, path)` and `catalog(connection, first, last, path)`:
each makes a DuckDB table of that name in the contract of `ecomrec.contract`, with a `dt` column; catalog rows also say
whether they belong to the first day's `snapshot` or to a later day's `delta`.
"""

import gzip
import os
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from itertools import groupby
from pathlib import Path

import duckdb

from ecomrec.errors import EcomrecError
from ecomrec.settings import Settings
from ecomrec.store import open_store

DATASETS = {"completejourney": "ecomrec.replay.completejourney", "online-retail": "ecomrec.replay.online_retail"}


def write(settings: Settings, dataset: str, first: str, last: str, path: Path | None = None, echo: Callable[[str], None] = print) -> dict:
    """Writes the days from `first` to `last`. The same call gives the same bytes; days that are complete are left alone.

    Returns `{"dataset", "days", "written", "events", "items", "seconds"}`.
    """
    if dataset not in DATASETS:
        raise EcomrecError(f"unknown data set {dataset!r}", f"known ones: {', '.join(DATASETS)}")
    started = time.monotonic()
    store = open_store(settings)
    present = {key for key, _ in store.list("raw")}
    adapter = import_module(DATASETS[dataset])
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = true")
        days = adapter.days(connection, first, last, path)
        if not days:
            raise EcomrecError(f"{dataset} has no events from {first} to {last}", f"it covers {adapter.COVERS}")
        wanted = [day for day in days if _events_key(day) not in present]
        if not wanted:
            echo(f"{dataset}: all {len(days)} days from {first} to {last} are there already")
            return {"dataset": dataset, "days": len(days), "written": 0, "events": 0, "items": 0, "seconds": 0.0}
        new_shop = not any(key.startswith("raw/catalog/") for key in present)
        echo(f"{dataset}: writing {len(wanted)} of {len(days)} days ...")
        adapter.catalog(connection, wanted[0] if new_shop else None, wanted[0], wanted[-1], path)
        items = _write(connection, store, "SELECT dt, kind, record FROM catalog ORDER BY dt, kind, item_id", _catalog_key, echo, "products")
        adapter.events(connection, wanted[0], wanted[-1], path)
        # Events last: a day counts as there when its events are, and a catalogue written twice is the same bytes.
        events = _write(connection, store, "SELECT dt, '' AS kind, record FROM events ORDER BY dt, event_time, event_id",
                        lambda day, kind: _events_key(day), echo, "events")
    seconds = round(time.monotonic() - started, 1)
    echo(f"{dataset}: {events:,} events and {items:,} catalogue rows in {seconds} s")
    return {"dataset": dataset, "days": len(days), "written": len(wanted), "events": events, "items": items, "seconds": seconds}


def _events_key(day: str) -> str:
    return f"raw/events/dt={day}/events-000.jsonl.gz"


def _catalog_key(day: str, kind: str) -> str:
    return f"raw/catalog/dt={day}/{kind}-000.jsonl.gz"


def _write(connection: duckdb.DuckDBPyConnection, store, query: str, key: Callable[[str, str], str], echo, what: str) -> int:
    """Streams `(dt, kind, record)` rows, in order, into one gzip file per day and kind; returns the rows."""
    cursor = connection.execute(query)

    def rows():
        while batch := cursor.fetchmany(50_000):
            yield from batch

    total, told = 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as folder:
        for (day, kind), group in groupby(rows(), key=lambda row: (str(row[0]), row[1])):
            path = Path(folder) / "part"
            lines = [row[2] for row in group]
            # mtime 0 and no name in the header: the same rows are the same bytes.
            with path.open("wb") as raw, gzip.GzipFile("", "wb", 3, raw, 0) as stream:
                stream.write(("\n".join(lines) + "\n").encode())
            store.put(path, key(day, kind))
            os.unlink(path)
            total += len(lines)
            if time.monotonic() - told > 3:
                told = time.monotonic()
                echo(f"  {day}: {total:,} {what}")
    return total
