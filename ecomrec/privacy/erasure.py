"""Erases people: from every table, every file and every later load, and ends with a search that proves it.

Order matters. The tombstone comes first, and then a barrier: loads, publications and data sets that began before it have
ended, and those that begin later leave the people out. So nothing can bring them back while the rest is going on, and an
erasure that was killed at any moment is run again with the same ids.
"""

import json
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
from psycopg2.extras import Json

from ecomrec import database
from ecomrec.artifact import MANIFEST, seal_again
from ecomrec.errors import ErasureIncomplete, InputError
from ecomrec.privacy import files, pseudonyms, tables, tombstones, traces
from ecomrec.privacy.pii import scrub
from ecomrec.privacy.traces import ERASED, Traces, UserField
from ecomrec.settings import Settings
from ecomrec.store import FolderStore, open_store

Echo = Callable[[str], None]
EVENTS = "raw/events/"
LOCAL = ("cache", "logs", "airflow/logs")  # folders below home that are not in the object store


def erase(settings: Settings, users: list[str], reason: str, actor: str, echo: Echo = print) -> dict:
    """All steps for `users` (raw ids or pseudonyms). Returns the report of `prove`. Raises ErasureIncomplete when something is left."""
    wanted = identify(settings, users)
    bury(settings, wanted, echo)
    done = {"models": trained_on(settings, wanted), "tables": erase_tables(settings, wanted, echo)}
    wanted = learn_raw_ids(settings, wanted, echo)
    done["files"] = erase_files(settings, wanted, echo)
    erase_tables(settings, wanted, echo)  # what only the raw id, now known, leads to
    return prove(settings, wanted, reason, actor, done, echo)


def identify(settings: Settings, users: list[str]) -> Traces:
    """What the people can be found by. Raises InputError without any, SettingsError without the right key."""
    if not (named := sorted({user.strip() for user in users if user.strip() and user.strip() != ERASED})):
        raise InputError("no user to erase", "give one or more user ids, as the shop writes them or as pseudonyms")
    return traces.of(pseudonyms.checked(settings), named)


def bury(settings: Settings, wanted: Traces, echo: Echo = print) -> None:
    """Sets the tombstones, then waits until everything has ended that may not have seen them."""
    tombstones.bury(settings, sorted(wanted.pseudonyms))
    echo(f"{len(wanted.pseudonyms)} tombstone(s) set: no load, publication or training takes these people in again")


def erase_tables(settings: Settings, wanted: Traces, echo: Echo = print) -> dict[str, dict[str, int]]:
    """Takes the people out of the shop's database, and their pseudonyms out of Airflow's and MLflow's."""
    done = {f"shop {name}": counts for name, counts in tables.erase(settings.shop_dsn, wanted).items()}
    for name, dsn in _other_databases(settings).items():
        done |= {f"{name} {table}": counts for table, counts in tables.erase(dsn, wanted.disguised, delete=False).items()}
    for name, counts in done.items():
        echo(f"{name}: {counts['deleted']:,} rows deleted, {counts['blanked']:,} cells blanked")
    return done


def erase_files(settings: Settings, wanted: Traces, echo: Echo = print) -> dict[str, int]:
    """Rewrites every file that holds one of the people; returns rows, lines or cells that went, by file."""
    done, where = {}, _in_logs(settings)
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as folder:
        for store, keys, what in _places(settings):
            mine, changed = wanted if what == "store" else wanted.disguised, {}
            for key in _told(keys, what, echo):
                target = Path(folder) / Path(key).name
                source = store.fetch(key, Path(folder) / "fetched")
                if key.endswith("/interactions.parquet") and (users := key.replace("interactions", "users")) in keys:
                    changed[key] = files.erase_interactions(store.fetch(users, Path(folder) / "fetched"), source, target, mine)
                else:
                    changed[key] = _readable(key, files.erase, source, target, mine, where(key))
                if changed[key] and target.exists():
                    store.put(target, key)
                target.unlink(missing_ok=True)
                _forget(source, Path(folder))
            seal_again(store, keys, [key for key, count in changed.items() if count])
            done |= {f"{what}: {key}": count for key, count in changed.items() if count}
    echo(f"{len(done)} files rewritten")
    return done


def prove(settings: Settings, wanted: Traces, reason: str, actor: str, done: dict, echo: Echo = print) -> dict:
    """Searches everything. Nothing found: marks the tombstones proved, writes an audit row without personal data, and returns
    `{"tables_searched", "files_searched", "left": {}, …done}`. Raises ErasureIncomplete naming each place otherwise."""
    started, left = time.monotonic(), {}
    wanted = learn_raw_ids(settings, wanted, echo)
    found = {f"shop {name}": count for name, count in tables.find(settings.shop_dsn, wanted).items()}
    for name, dsn in _other_databases(settings).items():
        found |= {f"{name} {table}": count for table, count in tables.find(dsn, wanted.disguised).items()}
    searched = len(found)
    left |= {name: count for name, count in found.items() if count}
    number, where = 0, _in_logs(settings)
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as folder:
        for store, keys, what in _places(settings):
            mine = wanted if what == "store" else wanted.disguised
            for key in _told(keys, what, echo):
                source = store.fetch(key, Path(folder))
                if count := _readable(key, files.find, source, mine, where(key)):
                    left[f"{what}: {key}"] = count
                _forget(source, Path(folder))
                number += 1
    echo(f"searched {searched} tables and {number:,} files in {time.monotonic() - started:.0f} s: {sum(left.values())} matches left")
    if left:
        raise ErasureIncomplete("the search still finds: " + ", ".join(f"{count:,} in {name}" for name, count in sorted(left.items())[:20]),
                                "run the erasure again; what stays in a file of an unknown kind has to be deleted by hand")
    report = {"persons": len(wanted.pseudonyms), "tables_searched": searched, "files_searched": number, "left": left, **done}
    with database.connect(settings.shop_dsn, application="ecomrec erase") as connection:
        database.execute(connection, "privacy/proved", wanted.parameters)
        database.execute(connection, "publish/audit_log", {"actor": actor, "action": "erase", "subject": f"{len(wanted.pseudonyms)} person(s)",
                                                           "detail": Json({**report, "reason": scrub(wanted.blank(reason))})})
    return report


def forget_request(settings: Settings, wanted: Traces, dag: str) -> None:
    """Blanks the ids where Airflow keeps what was typed into the form of `dag`."""
    with database.connect(settings.airflow_dsn, application="ecomrec erase") as connection:
        database.execute(connection, "privacy/airflow_requests", {"dag": dag, **wanted.parameters})


def learn_raw_ids(settings: Settings, wanted: Traces, echo: Echo = print) -> Traces:
    """`wanted` with the raw ids of people known by pseudonym only, found by trying the key on every user id of the shop's logs."""
    keys = pseudonyms.of(settings)
    missing = {found for found in wanted.pseudonyms if keys.keys and not any(raw != found and keys.of(raw) == found for raw in wanted.ids)}
    if not missing:
        return wanted
    store, learned, where = open_store(settings), set(), _in_logs(settings)
    names = [key for key, _ in store.list(EVENTS.rstrip("/"))]
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as folder, duckdb.connect() as duck:
        keys.prepare(duck)
        for key in _told(names, "looking for the raw id in", echo):
            source = store.fetch(key, Path(folder))
            learned.update(_readable(key, files.raw_ids, duck, source, where(key), sorted(missing)))
            _forget(source, Path(folder))
            if len(learned) >= len(missing):
                break
    return traces.of(keys, [*wanted.ids, *learned])


def trained_on(settings: Settings, wanted: Traces) -> list[str]:
    """Folders of models whose training days include a day on which one of the people did something."""
    with database.connect(settings.shop_dsn, application="ecomrec erase") as connection:
        [days] = database.query(connection, "privacy/active_days", {**wanted.parameters})
    store, found = open_store(settings), []
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as folder:
        for key, _ in store.list("models") if days["first"] else ():
            if key.endswith(f"/{MANIFEST}"):
                last = json.loads(store.fetch(key, Path(folder)).read_text(encoding="utf-8")).get("day", "")
                if str(days["first"]) <= last:
                    found.append(key.removesuffix(f"/{MANIFEST}"))
    return found


def _places(settings: Settings) -> Iterator[tuple]:
    """`(store, keys, what)`: the object store whole, and what the system keeps beside it on this machine. Raises ErasureIncomplete when the store does not tell all it has."""
    store = open_store(settings)
    logs = [key for key, _ in store.list("raw")]
    keys = [key for key, _ in store.list("")]
    if unseen := sorted(set(logs) - set(keys)):  # nothing may be proved by a search that was not shown everything
        raise ErasureIncomplete(f"{settings.store} lists {len(unseen):,} files below raw that are not in its list of everything, such as {unseen[0]}",
                                "when they were removed meanwhile, run the erasure again; otherwise check what the credentials may list")
    yield store, keys, "store"
    home = FolderStore(settings.home.resolve())
    if keys := [key for place in LOCAL for key, _ in home.list(place)]:
        yield home, keys, "home"


def _in_logs(settings: Settings) -> Callable[[str], UserField | None]:
    """Says of a key where its rows hold raw ids: of the shop's logs, and of nothing else."""
    from ecomrec.ingest.mapping import load_mapping, user_field

    user = user_field(load_mapping(settings, "events"))
    return lambda key: user if key.startswith(EVENTS) else None


def _other_databases(settings: Settings) -> dict[str, str]:
    found = {"airflow": settings.airflow_dsn, "mlflow": settings.mlflow_dsn}
    return {name: dsn for name, dsn in found.items() if dsn != settings.shop_dsn}


def _readable(key: str, work, *arguments):
    try:
        return work(*arguments)
    except (OSError, EOFError, ValueError, zlib.error, pa.ArrowException, duckdb.Error) as error:
        raise ErasureIncomplete(f"{key} cannot be searched: {str(error).splitlines()[0]}", "the file is broken: have it delivered again or delete it, then run the erasure again") from None


def _forget(source: Path, folder: Path) -> None:
    """A fetched copy is not needed any more; a folder store's own file stays."""
    if source.is_relative_to(folder):
        source.unlink(missing_ok=True)


def _told(keys: list[str], what: str, echo: Echo) -> Iterator[str]:
    told = time.monotonic()
    for number, key in enumerate(keys):
        if time.monotonic() - told > 5:
            told = time.monotonic()
            echo(f"  {what}: {number:,} of {len(keys):,} files")
        yield key
