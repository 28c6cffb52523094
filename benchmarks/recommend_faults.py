"""What a publication leaves behind when it dies: kills of a shard, of publish and of Postgres at random moments; each run is then run again.

    python -m benchmarks.recommend_faults [kills of each, default 17,16,17] [users, default 1500]

The shop's rules change before every kill, so that the old publication and the new one can be told apart. The process that scores the
shards, the one that audits and publishes, or the server with all its processes gets SIGKILL at a moment drawn evenly from what it does
(seed 42). Then the same run is run again: its tables must be those of a run that nothing happened to, row for row. All the
while a reader asks in a tight loop for every list and profile of the live publication in one statement, and must get a whole one
each time, the old or the new; another looks up one user. A difference ends the benchmark with an error.
"""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psycopg2

from benchmarks import figure, write
from benchmarks.ingest import sql
from benchmarks.ingest_faults import kill_server
from benchmarks.recommend import DAY, RULES, fill, make_model
from ecomrec.migrations import migrate
from ecomrec.publication import TABLES, partition
from ecomrec.runtime import overrides, postgres
from ecomrec.settings import Settings

COMMAND = "python -m benchmarks.recommend_faults"
SEED, ITEMS = 42, 400
RUN = f"""
import sys
from ecomrec import profiles, publication
from ecomrec.recommend.related import build
from ecomrec.recommend.shard import prepare, score_shard
from ecomrec.models import kernels
from ecomrec.settings import Settings
settings, (key, model) = Settings(), sys.argv[1:]
print('ready', flush=True)
sys.stdin.readline()
plan = publication.open_publication(settings, key, '{DAY}', 'recommender/1 (benchmark)')
prepare(settings, plan, model)
build(settings, plan, model)
print('shard', flush=True)
for shard in plan['shards']:
    score_shard(settings, plan, shard, model)
profiles.build(settings, plan['publication_id'], plan['day'])
print('publish', flush=True)
found = publication.audit(settings, plan['publication_id'], plan['day'])
publication.go_live(settings, plan['publication_id'], found)
print('done', flush=True)
"""
WHOLE = """SELECT p.publication_id, (SELECT count(*) FROM recs.user_recommendations r WHERE r.publication_id = p.publication_id),
                  (SELECT sum(hashtextextended(r.user_id || r.item_ids::text || r.reasons::text, 0)::numeric) FROM recs.user_recommendations r WHERE r.publication_id = p.publication_id),
                  (SELECT count(*) FROM recs.user_profiles f WHERE f.publication_id = p.publication_id) FROM analytics.publication p"""


class Readers(threading.Thread):
    """Reads until it is told to stop. What it saw that was no whole publication is in `torn`; waits for one user's list, in ms, in `waits`."""

    def __init__(self, dsn: str, wanted: dict[int, tuple]):
        super().__init__(daemon=True)
        self.dsn, self.wanted, self.torn, self.seen, self.waits, self.stop = dsn, wanted, [], 0, [], False

    def run(self) -> None:
        while not self.stop:
            try:
                connection = psycopg2.connect(self.dsn)
                connection.autocommit = True
                with connection.cursor() as cursor:
                    while not self.stop:
                        cursor.execute(WHOLE)
                        found = cursor.fetchall()
                        self.seen += 1
                        if len(found) != 1 or found[0][1:] not in self.wanted.values():
                            self.torn.append(found)
                        for _ in range(20):
                            began = time.perf_counter()
                            cursor.execute("SELECT count(*) FROM analytics.user_recommendations WHERE user_id = 'u0000007'")
                            self.waits.append(1000 * (time.perf_counter() - began))
                            if not cursor.fetchone()[0]:
                                self.torn.append("a user without a list")
            except psycopg2.Error:  # the server is down: it was killed
                time.sleep(0.05)


def tables(settings: Settings) -> dict[str, tuple]:
    """Rows and a checksum of every table of the live publication, without its number and the time."""
    [(live,)] = sql(settings, "SELECT publication_id FROM analytics.publication")
    return {table: sql(settings, f"SELECT count(*), sum(hashtextextended((to_jsonb(t) - 'publication_id')::text, 0)::numeric) FROM {partition(table, live)} t")[0]
            for table in TABLES}


def start(settings: Settings, key: str, model: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", RUN, key, str(model)], env={**os.environ, **overrides(settings), "ECOMREC_RULES": str(settings.rules)},
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def go(process: subprocess.Popen, until: str = "done") -> float:
    """Lets it run until it says so; returns when that was."""
    if not process.stdin.closed:
        process.stdin.write("go\n")
        process.stdin.close()
    while (line := process.stdout.readline().strip()) != until:
        if not line:
            raise SystemExit(f"a run that nobody killed failed:\n{process.stderr.read()}")
    return time.monotonic()


def rules(settings: Settings, number: int) -> None:
    settings.rules.write_text(RULES.replace("B3", f"B{3 + number % 2}"))


def main(counts: list[int], users: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ecomrec-faults-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        settings = Settings(_env_file=None, home=home, threads=1, list_length=20, shard_users=users // 3, rules=home / "rules.toml", publications_kept=3)
        postgres.start(settings)
        try:
            migrate(settings.shop_dsn)
            fill(settings, users, ITEMS)
            print(write("recommend_faults", COMMAND, kills(settings, make_model(home / "model", ITEMS), counts)))
        finally:
            postgres.stop(settings)


def kills(settings: Settings, model: Path, counts: list[int]) -> dict:
    wanted, whole, spans, draw = {}, {}, {}, random.Random(SEED)
    for number in (0, 1):  # what a run that nothing happens to makes, and how long its parts take
        rules(settings, number)
        process = start(settings, f"clean {number}", model)
        began = time.monotonic()
        marks = [began, *(go(process, mark) for mark in ("shard", "publish", "done"))]
        process.wait()
        spans = {"shard": (marks[1] - began, marks[2] - began), "publish": (marks[2] - began, marks[3] - began), "server": (0.0, marks[3] - began)}
        wanted[number], whole[number] = tables(settings), sql(settings, WHOLE)[0][1:]
    assert whole[0] != whole[1]
    readers, cases, number = Readers(settings.shop_dsn, whole), {}, 1
    readers.start()
    for who, times in zip(("shard", "publish", "server"), counts, strict=True):
        sides = []
        for turn in range(times):
            number += 1
            rules(settings, number)
            process = start(settings, f"run {number}", model)
            seconds = draw.uniform(*spans[who])
            process.stdin.write("go\n")
            process.stdin.close()
            time.sleep(seconds)
            kill_server(settings) if who == "server" else process.kill()
            process.stdout.read()
            errors = process.stderr.read()
            process.wait()
            if "Traceback" in errors and "ecomrec.errors" not in errors and "psycopg2" not in errors:
                raise SystemExit(f"kill {number}: the run did not say what happened:\n{errors}")
            found = sql(settings, WHOLE)[0][1:]
            sides.append("after" if found == whole[number % 2] else "before")
            if found not in whole.values():
                raise SystemExit(f"kill {number}: readers see {found}")
            again = start(settings, f"run {number}", model)
            go(again)
            again.wait()
            made = tables(settings)
            if made != wanted[number % 2]:
                raise SystemExit(f"run again after kill {number} of {who} at {seconds:.2f} s: {({name: (made[name], wanted[number % 2][name]) for name in made if made[name] != wanted[number % 2][name]})}")
            if readers.torn:
                raise SystemExit(f"kill {number}: a reader saw {readers.torn[0]}")
            print(f"{who} {turn + 1} of {times}: killed after {seconds:.2f} s, {sides[-1]} it went live; the same tables when run again", flush=True)
        cases |= {f"{who}_killed": figure(times, "kills"), f"{who}_killed_before_live": figure(sides.count("before"), "kills"), f"{who}_killed_other_tables": figure(0, "kills")}
    readers.stop = True
    readers.join()
    [(left,)] = sql(settings, "SELECT count(*) FROM pg_class WHERE relnamespace = 'staging'::regnamespace AND relkind IN ('r', 'p')")
    return cases | {"injected": figure(sum(counts), "kills"), "lost": figure(0, "publications"), "half_visible": figure(len(readers.torn), "reads"), "whole_reads": figure(readers.seen, "reads"),
                    "lookup_p99_ms": figure(float(np.quantile(readers.waits, 0.99)), "ms, one user's list, with a publication built beside"),
                    "lookup_max_ms": figure(max(readers.waits), "ms"), "left_in_staging": figure(left, "tables")}


if __name__ == "__main__":
    main([int(count) for count in (sys.argv[1] if len(sys.argv) > 1 else "17,16,17").split(",")], int(sys.argv[2]) if len(sys.argv) > 2 else 1500)
