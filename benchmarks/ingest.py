"""How fast a day is loaded: gzipped JSON Lines → validated `core.events`, against a bare COPY and against pandas; and its memory.

    python -m benchmarks.ingest [events, default 5000000] [runs, default 3]

Rows are simulated and have every field of the contract; a session is about 8 events in five minutes. **COPY** is the floor: the same rows, from a ready CSV file, into a
table with the same columns, partitions and indexes; no parsing, no contract, no checks, no staging. **pandas** is
`read_json(lines=True)` and `to_sql` as they come, of 100,000 of the rows into the same table as COPY (it is too slow for all;
rows/s is what is compared). Ours also makes what is made of the day: sessions, search outcomes, item and user days. Ours is a process of its own each time, its start and imports included. Runs are
interleaved; figures are medians. Memory is the loader's peak resident set (VmHWM), with Postgres's own beside it.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import psycopg2

from benchmarks import figure, write
from ecomrec.migrations import migrate
from ecomrec.runtime import overrides, postgres
from ecomrec.settings import Settings
from ecomrec.transforms import TABLES

COMMAND = "python -m benchmarks.ingest"
DAY, FILES, PANDAS_ROWS = "2017-03-01", 10, 100_000
KINDS = "['click', 'impression', 'cart', 'purchase', 'search']"
RECORD = f"""{{event_id: md5(i::VARCHAR)[:20], event_time: strftime(TIMESTAMP '{DAY}' + to_milliseconds(i * 86400000 // $events), '%Y-%m-%dT%H:%M:%S.%gZ'),
    user_id: 'u' || hash(s, $salt) % 400000, session_id: 's' || s, event_type: {KINDS}[1 + (hash(i, 1) % 5)::INTEGER],
    item_id: CASE WHEN hash(i, 1) % 5 < 4 THEN (hash(i, 2) % 60000)::VARCHAR END,
    query: CASE WHEN hash(i, 1) % 5 = 4 THEN 'red shoes ' || hash(i, 3) % 5000 END, position: CASE WHEN hash(i, 1) % 5 < 2 THEN (hash(i, 4) % 20 + 1)::INTEGER END,
    price: CASE WHEN hash(i, 1) % 5 IN (2, 3) THEN (hash(i, 2) % 10000 + 1) / 100.0 END, quantity: CASE WHEN hash(i, 1) % 5 IN (2, 3) THEN 1 END,
    context: {{device: ['ios', 'android', 'web'][1 + (hash(i, 5) % 3)::INTEGER], country: ['DE', 'FR', 'CN', 'US'][1 + (hash(i, 6) % 4)::INTEGER]}}}}"""
LOAD = f"""
import json, resource, time
from ecomrec.settings import Settings
from ecomrec.ingest import events
done = events._load(Settings(), ['{DAY}'], print, 'benchmark', '')
assert not done['refused'], done['refused']
peak = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))
print('RESULT' + json.dumps({{'rows': done['rows_loaded'], 'stages': done['stages'], 'peak_mb': peak / 1024}}))
"""
PANDAS = """
import json, sys, pandas, sqlalchemy
from ecomrec.settings import Settings, sqlalchemy_url
frame = pandas.read_json(sys.argv[1], lines=True, nrows=int(sys.argv[2]), compression='gzip')
frame['context'] = frame['context'].map(json.dumps)
frame['event_day'] = sys.argv[3]
frame.to_sql('events', sqlalchemy.create_engine(sqlalchemy_url(Settings().shop_dsn)), schema='bench', if_exists='append', index=False)
"""


def deliver(settings: Settings, events: int, salt: int = 0) -> None:
    """Writes the day's files. `salt`: another one gives other users to the same sessions."""
    folder = Path(settings.store.removeprefix("file://")) / "raw" / "events" / f"dt={DAY}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    per, block = events // FILES, max(8, events // 288)
    sessions = block // 8
    with duckdb.connect() as duck:
        for number in range(FILES):
            record = RECORD.replace("$events", str(events)).replace("$salt", str(salt))
            duck.execute(f"COPY (SELECT to_json({record})::VARCHAR FROM (SELECT i, i // {block} * {sessions} + hash(i) % {sessions} AS s FROM range({number * per}, {(number + 1) * per}) t(i))) "
                         f"TO '{folder}/part-{number:03}.jsonl.gz' (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIM '\x01', COMPRESSION gzip)")


def sql(settings: Settings, *statements: str) -> list[tuple]:
    """Runs statements, each in its own transaction; returns the rows of the last."""
    connection = psycopg2.connect(settings.shop_dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        found = cursor.fetchall() if cursor.description else []
    connection.close()
    return found


def load(settings: Settings) -> tuple[float, dict]:
    """Seconds of one load in a process of its own, and what it said."""
    import json

    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", LOAD], env={**os.environ, **overrides(settings)}, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    return seconds, json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))[6:])


def copy(settings: Settings, path: Path) -> float:
    """Seconds of a bare COPY of the ready CSV into an empty partition with its indexes."""
    sql(settings, "TRUNCATE bench.events", "CHECKPOINT")
    began = time.monotonic()
    connection = psycopg2.connect(settings.shop_dsn)
    with path.open("rb") as stream, connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY bench.events FROM STDIN (FORMAT csv)", stream, 1 << 18)
    connection.close()
    return time.monotonic() - began


def by_pandas(settings: Settings) -> float:
    """Seconds that pandas takes for PANDAS_ROWS rows, imports included."""
    first = next(Path(settings.store.removeprefix("file://")).rglob("part-000.jsonl.gz"))
    sql(settings, "TRUNCATE bench.events")
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", PANDAS, str(first), str(PANDAS_ROWS), DAY], env={**os.environ, **overrides(settings)}, check=True)
    return time.monotonic() - began


def prepare(home: Path) -> Settings:
    """A Postgres of its own, with the peer's tables in it."""
    settings = Settings(_env_file=None, home=home)
    postgres.start(settings)
    migrate(settings.shop_dsn)
    sql(settings, "CREATE SCHEMA bench", "CREATE TABLE bench.events (LIKE core.events INCLUDING ALL) PARTITION BY RANGE (event_day)",
        f"CREATE TABLE bench.events_day PARTITION OF bench.events FOR VALUES FROM ('{DAY}') TO (DATE '{DAY}' + 1)")
    return settings


def spread(values: list[float]) -> float:
    return (max(values) - min(values)) / statistics.median(values)


def main(events: int, runs: int) -> None:
    cases = {}
    with tempfile.TemporaryDirectory(prefix="ecomrec-ingest-") as folder:
        settings = prepare(Path(folder) / "home")
        try:
            flat = {}
            for size in (1_000_000, 10_000_000):
                deliver(settings, size)
                seconds, done = load(settings)
                flat[size] = done["peak_mb"]
                cases[f"{size // 1_000_000}m.peak_mb"] = figure(done["peak_mb"], "MB")
                cases[f"{size // 1_000_000}m.seconds"] = figure(seconds, "s")
                print(f"{size:,}: {seconds:.1f} s, peak {done['peak_mb']:.0f} MB", flush=True)
            cases["memory_10m_over_1m"] = figure(flat[10_000_000] / flat[1_000_000], "ratio")
            deliver(settings, events)
            load(settings)  # warms caches, and gives the rows for the CSV
            ready = Path(folder) / "ready.csv"
            connection = psycopg2.connect(settings.shop_dsn)
            with ready.open("wb") as stream, connection.cursor() as cursor:
                cursor.copy_expert("COPY (SELECT * FROM core.events) TO STDOUT (FORMAT csv)", stream)
            connection.close()
            ours, copies, pandas, stages, peaks = [], [], [], [], []
            for run in range(runs):
                sql(settings, f"TRUNCATE core.events, {', '.join(TABLES)}", "CHECKPOINT")  # a new day, as for COPY
                seconds, done = load(settings)
                assert done["rows"] == events // FILES * FILES
                ours.append(done["rows"] / seconds)
                stages.append({**done["stages"], "whole": seconds})
                peaks.append(done["peak_mb"])
                copies.append(done["rows"] / copy(settings, ready))
                pandas.append(PANDAS_ROWS / by_pandas(settings))
                print(f"run {run + 1}: ours {ours[-1]:,.0f} rows/s {stages[-1]}, COPY {copies[-1]:,.0f}, pandas {pandas[-1]:,.0f}, {peaks[-1]:.0f} MB", flush=True)
            heap, indexes = sql(settings, "SELECT pg_table_size(c), pg_indexes_size(c) FROM (SELECT 'core.events_20170301'::regclass AS c) t")[0]
            raw = sum(path.stat().st_size for path in Path(settings.store.removeprefix("file://")).rglob("*.gz"))
            name = f"{events // 1_000_000}m"
            cases |= {
                "ratio_to_copy": {"ours": statistics.median(ours), "peer": statistics.median(copies), **figure(statistics.median(ours) / statistics.median(copies), "ratio", runs, spread(ours))},
                "ratio_to_pandas": {"ours": statistics.median(ours), "peer": statistics.median(pandas),
                                    **figure(statistics.median(ours) / statistics.median(pandas), "ratio", runs, spread(pandas))},
                f"{name}.rows_per_s": figure(statistics.median(ours), "rows/s", runs, spread(ours)),
                f"{name}.copy_rows_per_s": figure(statistics.median(copies), "rows/s", runs, spread(copies)),
                f"{name}.table_bytes_per_row": figure(heap / events, "bytes"), f"{name}.index_bytes_per_row": figure(indexes / events, "bytes"),
                f"{name}.file_bytes_per_row": figure(raw / events, "bytes")}
            for stage in stages[0]:
                cases[f"{name}.seconds.{stage}"] = figure(statistics.median([found[stage] for found in stages]), "s", runs)
        finally:
            postgres.stop(settings)
    print(write("ingest", COMMAND, cases))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
