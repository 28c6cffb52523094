"""`make demo`: four months of a shop through Airflow's own API and scheduler, then one more day. Nothing goes by a side door.

Run ids are the same every time, so a second demo goes on where the first one ended: what succeeded is kept, what failed
is cleared, what still runs is waited for.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from ecomrec import database
from ecomrec.airflow_api import POLL_SECONDS, Airflow
from ecomrec.errors import EcomrecError
from ecomrec.settings import Settings

DATASET = "completejourney"
FIRST, LAST, NEXT = "2017-08-07", "2017-11-26", "2017-11-27"
FAMILIES = ["recommender", "query_classifier"]  # the retriever takes minutes more, and simulated searches say little about it
DAGS = ["load_history", "train_models", "publish_recommendations", "ingest_catalog", "ingest_events"]
MARKS = {"success": "done", "failed": "FAILED", "upstream_failed": "not reached", "up_for_retry": "will be tried again"}
SILENCE_SECONDS = 20.0  # without news for so long, a line says that it is still at it
ASSET_TIMEOUT = 120.0  # the scheduler starts what an asset event asks for within seconds


@dataclass
class Demo:
    """What one demo knows while it runs: where it is, what each stage took, and the stage it is in."""

    settings: Settings
    keep: bool = False
    started: float = field(default_factory=time.monotonic)
    stages: list[dict] = field(default_factory=list)
    stage: str = "start"
    airflow: Airflow | None = None

    def say(self, text: str) -> None:
        """One line with the time since the start, shown at once."""
        print(f"[{time.monotonic() - self.started:6.1f} s] {text}", flush=True)

    def done(self, name: str, seconds: float, rows: int | None = None, kept: bool = False) -> None:
        """Notes a finished stage for the last table and for demo.json."""
        self.stages.append({"stage": name, "seconds": round(seconds, 1), "rows": rows, "kept": kept})


def run(settings: Settings, keep: bool = False) -> int:
    """Runs (or goes on with) the demo and prints its report; returns the exit status.

    Writes `<home>/demo.json`. What this call started is stopped at the end, except with `keep`; on a terminal it stays
    up until Ctrl-C first. A system that was up before is left as it was.
    """
    from ecomrec import runtime

    keep = keep or os.environ.get("ECOMREC_DEMO_KEEP", "") not in ("", "0")
    demo = Demo(settings, keep=keep)
    was_up = is_up(settings)
    ended = False
    try:
        with _terminable():
            _play(demo)
            ended = True
            if not was_up and not keep and sys.stdout.isatty() and not os.environ.get("CI"):
                print("\npress Ctrl-C to stop everything", flush=True)
                while True:
                    time.sleep(3600)
        return 0
    except KeyboardInterrupt:
        if not ended:
            demo.say(f"interrupted during: {demo.stage}. Run the same command again to go on from here.")
        return 0 if ended else 130
    except EcomrecError as error:
        demo.say(f"FAILED during: {demo.stage}")
        print(f"\n{error}\n", file=sys.stderr, flush=True)
        return 1
    finally:
        if was_up:
            print("It was up before, so it stays up. `ecomrec down` stops it.", flush=True)
        elif keep and ended:
            print("It stays up. `ecomrec down` stops it.", flush=True)
        else:
            print("stopping what the demo started ...", flush=True)
            runtime.down(settings)


def is_up(settings: Settings) -> bool:
    """True when the system of this home runs already."""
    from ecomrec import runtime

    return runtime.status(settings)["phase"] not in ("down", "failed")


def _play(demo: Demo) -> None:
    from ecomrec import demo_report
    from ecomrec.footprint import Peak

    settings = demo.settings
    with Peak(settings.home) as peak, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        demo.stage = "write the shop's files, start Postgres and Airflow"
        began = time.monotonic()
        files = pool.submit(_replay, settings, FIRST, LAST) if not _all_there(settings, FIRST, LAST) else None
        place = _up(demo)
        _replayed(demo, files, FIRST, LAST, began)
        airflow = demo.airflow = Airflow(place["url"], place["user"], place["password"])
        airflow.wait_for_dags(DAGS)
        for dag_id in DAGS:
            airflow.unpause(dag_id)

        history = _dag(demo, "load_history", {"first": FIRST, "last": LAST})
        training = _dag(demo, "train_models", {"day": LAST, "families": FAMILIES})
        _published(demo, "train_models", training, LAST)

        demo.say(f"one more day arrives: {NEXT}")
        began = time.monotonic()
        files = pool.submit(_replay, settings, NEXT, NEXT) if not _all_there(settings, NEXT, NEXT) else None
        _replayed(demo, files, NEXT, NEXT, began)
        _dag(demo, "ingest_catalog", {"day": NEXT})
        day = _dag(demo, "ingest_events", {"day": NEXT})
        _published(demo, "ingest_events", day, NEXT)
    figures = {"total_s": round(time.monotonic() - demo.started, 1), "peak_pss_gb": round(peak.gb, 2), "stages": demo.stages,
               "resumed": any(stage["kept"] for stage in demo.stages), "url": place["url"]}
    _write(settings.home / "demo.json", figures)
    pages = {"history": airflow.page("load_history", history), "next day": airflow.page("ingest_events", day)}
    demo_report.show(settings, figures, place, pages)


def _up(demo: Demo) -> dict:
    from ecomrec import runtime

    began = time.monotonic()
    # Not detached, the system ends with this process even if that is killed outright.
    place = runtime.up(demo.settings, detach=demo.keep, echo=demo.say)
    demo.done("start Postgres and Airflow", time.monotonic() - began)
    demo.say(f"Airflow is at {place['url']} (user {place['user']}, password {place['password']})")
    return place


def _replay(settings: Settings, first: str, last: str) -> None:
    """Runs in a process of its own, beside the start of Airflow."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ecomrec import replay

    replay.write(settings, DATASET, first, last, echo=lambda line: None)  # the parent says how far it is


def _day_folders(settings: Settings) -> Path | None:
    return Path(settings.store.removeprefix("file://")) / "raw" / "events" if settings.store.startswith("file://") else None


def _days_there(settings: Settings, first: str, last: str) -> tuple[int, int]:
    """Day folders that are in the store, of how many."""
    days = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    folder = _day_folders(settings)
    names = (f"dt={date.fromisoformat(first) + timedelta(n)}" for n in range(days))
    return sum(any((folder / name).glob("[!.]*")) for name in names) if folder else 0, days


def _all_there(settings: Settings, first: str, last: str) -> bool:
    there, days = _days_there(settings, first, last)
    return there == days


def _replayed(demo: Demo, files: Future | None, first: str, last: str, began: float) -> None:
    """Waits for the files of these days, saying how far they are."""
    demo.stage = f"write the shop's files of {first} to {last}"
    said = time.monotonic()
    while files and not files.done():
        time.sleep(0.5)
        if time.monotonic() - said > 5:
            said = time.monotonic()
            demo.say("writing the shop's files: {} of {} days".format(*_days_there(demo.settings, first, last)))
    if files:
        files.result()
    demo.say(f"the shop's files of {first} to {last} are in the store (purchases are real, searches and clicks SIMULATED)")
    demo.done(f"files of {first}" + (f" to {last}" if last != first else ""), time.monotonic() - began, kept=files is None)


def _dag(demo: Demo, dag_id: str, conf: dict) -> str:
    """Has Airflow run this DAG, or goes on with the run that it has; returns the run id."""
    airflow = demo.airflow
    days = [value for value in conf.values() if isinstance(value, str)]
    run_id = "__".join(("demo", dag_id, *days))
    demo.stage = f"{dag_id} ({' to '.join(days)})"
    found = airflow.run(dag_id, run_id)
    kept = found is not None and found["state"] == "success"
    if found is None:
        airflow.trigger(dag_id, conf, run_id)
        demo.say(f"{demo.stage}: triggered")
    elif found["state"] == "failed":
        airflow.clear_failed(dag_id, run_id)
        demo.say(f"{demo.stage}: failed before; its failed tasks run again")
    elif not kept:
        demo.say(f"{demo.stage}: still running, going on")
    _wait(demo, dag_id, run_id, days, kept)
    return run_id


def _published(demo: Demo, source_dag: str, source_run: str, day: str) -> None:
    """Waits for the publication that an asset event of this run starts by itself."""
    demo.stage = f"publish_recommendations ({day}), started by the asset that {source_dag} emits"
    deadline = time.monotonic() + ASSET_TIMEOUT
    while (found := demo.airflow.started_by("publish_recommendations", source_dag, source_run)) is None:
        if time.monotonic() > deadline:
            raise EcomrecError(f"publish_recommendations was not started by {source_run} within {ASSET_TIMEOUT:.0f} s",
                               "see that it is not paused and that the scheduler is healthy (`ecomrec status`)")
        time.sleep(POLL_SECONDS)
    kept = found["state"] == "success"
    if found["state"] == "failed":
        demo.airflow.clear_failed("publish_recommendations", found["dag_run_id"])
    _wait(demo, "publish_recommendations", found["dag_run_id"], [day], kept)
    with database.connect(demo.settings.shop_dsn, application="ecomrec demo") as connection:
        if not database.query(connection, "demo/publication", {"day": day}):
            raise EcomrecError(f"nothing was published for {day}, although {found['dag_run_id']} is green",
                               f"see which of its tasks was skipped: {demo.airflow.page('publish_recommendations', found['dag_run_id'])}")


def _wait(demo: Demo, dag_id: str, run_id: str, days: list[str], kept: bool) -> None:
    shown, said, began = {}, time.monotonic(), time.monotonic()

    def progress(tasks: list[dict]) -> None:
        nonlocal said
        for name, text in summary(tasks).items():
            if shown.get(name) != text and not kept:
                shown[name] = text
                said = time.monotonic()
                demo.say(f"  {dag_id} · {name}: {text}")
        if time.monotonic() - said > SILENCE_SECONDS:
            said = time.monotonic()
            busy = ", ".join(name for name, text in shown.items() if "running" in text) or "waiting for the scheduler"
            demo.say(f"  {dag_id} · still at it: {busy}")

    ended = demo.airflow.wait(dag_id, run_id, progress)
    seconds = time.monotonic() - began
    if kept and ended["start_date"] and ended["end_date"]:
        took = datetime.fromisoformat(ended["end_date"]) - datetime.fromisoformat(ended["start_date"])
        seconds = took.total_seconds()
    demo.say(f"{demo.stage}: {'done earlier, kept' if kept else 'done'} ({seconds:.1f} s)")
    demo.done(demo.stage.split(", started")[0], seconds, _rows(demo.settings, dag_id, days), kept)


def summary(tasks: list[dict]) -> dict[str, str]:
    """What to show of each task that has begun, by task id: "running", "done (3.2 s)", and for mapped ones "2 of 5 done"."""
    groups: dict[str, list[dict]] = {}
    for task in tasks:
        groups.setdefault(task["task_id"], []).append(task)
    texts = {}
    for name, group in groups.items():
        states = [task["state"] for task in group]
        if all(state in (None, "scheduled", "queued") for state in states):
            continue
        seconds = sum(task["duration"] or 0 for task in group)
        if len(group) > 1:
            ended = sum(state == "success" for state in states)
            text = f"{ended} of {len(group)} done" + (", FAILED" if "failed" in states else "" if ended == len(group) else ", running")
        else:
            text = MARKS.get(states[0], states[0])
        texts[name] = f"{text} ({seconds:.1f} s)" if all(state == "success" for state in states) else text
    return texts


def _rows(settings: Settings, dag_id: str, days: list[str]) -> int | None:
    """Rows that a stage wrote: events and products loaded, users published; None for training."""
    with database.connect(settings.shop_dsn, application="ecomrec demo") as connection:
        if dag_id == "publish_recommendations":
            return next((row["users"] for row in database.query(connection, "demo/publication", {"day": days[0]})), None)
        if dag_id == "train_models":
            return None
        kinds = {"ingest_catalog": ["catalog"], "ingest_events": ["events"]}.get(dag_id, ["catalog", "events"])
        loads = database.query(connection, "demo/loads", {"first": days[0], "last": days[-1]})
        return sum(row["rows_loaded"] for row in loads if row["kind"] in kinds)


def _write(path: Path, content: dict) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
    os.replace(temporary, path)


@contextmanager
def _terminable():
    """A terminal that closes and `kill` end the demo as Ctrl-C does: in order."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
