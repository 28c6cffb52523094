"""What a load leaves behind when it dies: 50 kills of the loader, 10 of Postgres, and every bad file; each is then run again.

    python -m benchmarks.ingest_faults [events, default 60000] [kills, default 50] [deaths of Postgres, default 10]

The day is delivered anew, with other users, before every kill, so that the old day and the new one can be told apart. At a moment
drawn evenly from a whole load (seed 42) the loader, or the server with all its processes, gets SIGKILL. Then: what readers see
is the old day or the new one, row for row, never a mixture; and after the load is run again it is the new one, in
`core.events` and in everything made of it (sessions, search outcomes, item and user days), and nothing is left in staging.
A difference ends the benchmark with an error. The bad files are those of `tests/badfiles.py`.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks import figure, write
from benchmarks.ingest import DAY, deliver, prepare, sql
from ecomrec.errors import EcomrecError
from ecomrec.ingest import load_events
from ecomrec.runtime import overrides, postgres
from ecomrec.settings import Settings
from ecomrec.transforms import TABLES
from tests.badfiles import BAD_FILES, give

COMMAND = "python -m benchmarks.ingest_faults"
SEED = 42
LOADER = f"""
from ecomrec import validation
from ecomrec.settings import Settings
from ecomrec.ingest import load_events
validation.library()
print('ready', flush=True)
load_events(Settings(), '{DAY}', echo=lambda line: None)
print('done', flush=True)
"""


def state(settings: Settings) -> tuple:
    """Rows and a checksum of core.events and of each table made of it. Order does not matter, content does."""
    return tuple(sql(settings, f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {table} t")[0] for table in ("core.events", *TABLES))


def left_over(settings: Settings) -> int:
    """Tables in staging."""
    return sql(settings, "SELECT count(*) FROM pg_class WHERE relnamespace = 'staging'::regnamespace AND relkind IN ('r', 'p')")[0][0]


def start_loader(settings: Settings) -> subprocess.Popen:
    """A loader of its own, its imports done."""
    process = subprocess.Popen([sys.executable, "-c", LOADER], env={**os.environ, **overrides(settings)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def kill_server(settings: Settings) -> None:
    """SIGKILL to the server and all its processes at once, as when the machine loses power (but for the disk's own cache)."""
    server = psutil.Process(int((settings.home / "postgres" / "postmaster.pid").read_text(encoding="utf-8").split()[0]))
    for process in (server, *server.children(recursive=True)):
        process.kill()
    postgres.start(settings)


def expect(what: str, found: tuple, allowed: list[tuple]) -> None:
    if found not in allowed:
        raise SystemExit(f"{what}: found {found}, not one of {allowed}")


def one(settings: Settings, number: int, events: int, wanted: dict[int, tuple], seconds: float, kill) -> str:
    """One kill. Returns `before` or `after`: on which side of the load's commit it fell."""
    old, new = (number + 1) % 2, number % 2
    deliver(settings, events, salt=new)
    process = start_loader(settings)
    time.sleep(seconds)
    kill(process)
    output, errors = process.communicate()
    ended = "done" in output
    found = state(settings)
    expect(f"kill {number} after {seconds:.2f} s", found, [wanted[new]] if ended else [wanted[old], wanted[new]])
    if "Traceback" in errors and "ecomrec.errors" not in errors:
        raise SystemExit(f"kill {number}: the loader did not say what happened:\n{errors}")
    load_events(settings, DAY, echo=lambda line: None)
    expect(f"run again after kill {number} at {seconds:.2f} s", state(settings), [wanted[new]])
    if left := left_over(settings):
        raise SystemExit(f"kill {number}: {left} tables left in staging")
    return "after" if found == wanted[new] else "before"


def kills(settings: Settings, events: int, count: int, deaths: int) -> dict:
    """The kills of the loader and of the server."""
    wanted = {}
    for salt in (1, 0):
        deliver(settings, events, salt=salt)
        wanted[salt] = wanted.get(salt) or (load_events(settings, DAY, echo=lambda line: None), state(settings))[1]
    assert wanted[0] != wanted[1] and wanted[0][0][0] == events // 10 * 10
    process, began = start_loader(settings), time.monotonic()
    process.wait()
    whole = time.monotonic() - began
    print(f"a load takes {whole:.1f} s", flush=True)
    draw, sides, cases = random.Random(SEED), {"loader": [], "server": []}, {}
    number = 0
    for who, times, kill in (("loader", count, lambda process: process.send_signal(signal.SIGKILL)), ("server", deaths, lambda process: kill_server(settings))):
        for turn in range(times):
            number += 1
            seconds = draw.uniform(0, whole)
            sides[who].append(one(settings, number, events, wanted, seconds, kill))
            print(f"{who} {turn + 1} of {times}: killed after {seconds:.2f} of {whole:.2f} s, {sides[who][-1]} the commit", flush=True)
        cases |= {f"{who}_killed": figure(times, "kills"), f"{who}_killed_before_commit": figure(sides[who].count("before"), "kills"),
                  f"{who}_killed_wrong_after_rerun": figure(0, "kills")}
    return cases | {"events": figure(events, "rows"), "load_s": figure(whole, "s")}


def bad_files(settings: Settings) -> dict:
    """Every bad file: refused with the old day live, or its bad rows set aside; then mended and loaded again."""
    cases = {}
    give(settings)
    load_events(settings, DAY, echo=lambda line: None)
    good = state(settings)
    for name, (_, expected) in BAD_FILES.items():
        give(settings, name)
        try:
            done = load_events(settings, DAY, echo=lambda line: None)
            became = (done["rows_loaded"], done["rows_rejected"])
        except EcomrecError as error:
            became = error.message
            expect(f"{name}: the live day", state(settings), [good])
        if not (became == expected or (isinstance(expected, str) and expected in str(became))):
            raise SystemExit(f"{name}: became {became}, not {expected}")
        give(settings)
        load_events(settings, DAY, echo=lambda line: None)
        expect(f"{name}: loaded again", state(settings), [good])
        if left := left_over(settings):
            raise SystemExit(f"{name}: {left} tables left in staging")
        # Without the folder of this machine, which differs with each run.
        said = became.replace(f"{settings.home}/", "") if isinstance(became, str) else f"{became[0]} rows loaded, {became[1]} set aside"
        cases[f"file.{name.replace(' ', '_')}"] = {**figure(1, "as expected"), "became": said}
        print(f"{name}: {said}", flush=True)
    return cases


def main(events: int, count: int, deaths: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ecomrec-faults-") as folder:
        settings = prepare(Path(folder) / "home")
        try:
            cases = bad_files(settings) | kills(settings, events, count, deaths)
        finally:
            postgres.stop(settings)
    print(write("ingest_faults", COMMAND, cases))


if __name__ == "__main__":
    main(*(int(given) if given else default for given, default in zip((sys.argv[1:] + [""] * 3)[:3], (60_000, 50, 10), strict=True)))
