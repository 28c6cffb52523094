"""Who loaded a day, from which files, and whether these are still the files that the store has."""

import getpass
import json
from concurrent.futures import ThreadPoolExecutor

from ecomrec import database
from ecomrec.errors import EcomrecError
from ecomrec.ingest.files import File
from ecomrec.ingest.scratch import Counts, Scratch
from ecomrec.settings import Settings
from ecomrec.store import open_store

REJECTED = ("kind", "day", "file", "line", "reason", "payload")


def login() -> str:
    """Who runs this, when Airflow does not say."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def hashes(files: list[File]) -> dict[str, str]:
    """SHA-256 of each file by its key."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip([file.key for file in files], pool.map(File.sha256, files), strict=True))


def record(connection, scratch: Scratch, day: str, count: Counts, sums: dict[str, str], *, actor: str, seconds: float, stages: dict[str, float],
           fields: dict | None, changes: list[str], error: EcomrecError | None) -> int:
    """The day's load, its files and its rejected rows, in the caller's transaction; the rejected rows of an earlier load go. Returns the load's number."""
    kind = scratch.contract.kind
    files = [(number, file) for number, file in enumerate(scratch.files) if file.day == day]
    (load,) = database.query(connection, "ingest/record_load", {
        "kind": kind, "day": day, "state": "refused" if error else "loaded", "files": len(files), "rows_read": count.read,
        "rows_loaded": 0 if error else count.good, "rows_rejected": count.rejected, "rows_dropped": count.dropped, "rows_duplicate": count.duplicate,
        "seconds": seconds, "reason": error and error.message, "actor": actor, "reasons": json.dumps(count.reasons), "stages": json.dumps(stages),
        "fields": json.dumps(fields) if fields else None, "changes": changes})
    rows = scratch.file_rows()
    for number, file in files:
        database.execute(connection, "ingest/record_file", {"load_id": load["load_id"], "key": file.key, "etag": file.etag, "bytes": file.bytes,
                                                            "sha256": sums.get(file.key, ""), "rows_read": rows.get(number, 0)})
    database.execute(connection, "ingest/clear_rejected", {"kind": kind, "day": day})
    if count.rejected:
        scratch.duck.execute("CREATE OR REPLACE TABLE names (file INTEGER, key VARCHAR)")
        scratch.duck.executemany("INSERT INTO names VALUES (?, ?)", [(number, file.key) for number, file in files])
        query = (f"SELECT '{kind}', DATE '{day}', key, line, reason, coalesce(payload, '') FROM ({scratch.refused()}) JOIN names USING (file) "
                 "ORDER BY file, line")
        scratch.stream(query, [day], lambda stream: database.copy_in(connection, "ops.rejected_rows", REJECTED, stream))
    return load["load_id"]


def stale(settings: Settings, kind: str) -> dict[str, str]:
    """`{day: what is different}` of the loaded days whose files are not the ones that were loaded; `{}`: all is as it was."""
    with database.connect(settings.shop_dsn, application="ecomrec loads") as connection:
        loaded: dict[str, dict[str, str]] = {}
        for row in database.query(connection, "ingest/manifests", {"kind": kind}):
            loaded.setdefault(str(row["day"]), {})
            if row["key"]:
                loaded[str(row["day"])][row["key"]] = row["etag"]
    there: dict[str, dict[str, str]] = {}
    for found in open_store(settings).objects(f"raw/{kind}"):
        folder, _, name = found.key.removeprefix(f"raw/{kind}/dt=").partition("/")
        if name and not name.rsplit("/", 1)[-1].startswith(("_", ".")):
            there.setdefault(folder, {})[found.key] = found.etag
    said = {}
    for day, files in loaded.items():
        now = there.get(day)
        if not files or not now or now == files:  # files that are archived away after their load are no news
            continue
        new, gone = sorted(now.keys() - files.keys()), sorted(files.keys() - now.keys())
        changed = sorted(key for key in now.keys() & files.keys() if now[key] != files[key])
        said[day] = "; ".join(f"{word} {names[0].rsplit('/', 1)[-1]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
                              for word, names in (("late", new), ("gone", gone), ("changed", changed)) if names)
    return said
