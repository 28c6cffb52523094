"""Events: a day is loaded whole or not at all, and twice is the same as once.

    files → parsed (DuckDB) → staging.events_…, a partition a day → checks, indexes → that partition becomes the live one

A row is written to Postgres once: what is staged is what goes live.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta

import psycopg2

from ecomrec import database, transforms, validation
from ecomrec.contract import EVENTS
from ecomrec.errors import DatabaseDown, EcomrecError, InputError, ValidationFailed
from ecomrec.ingest import manifest, schema
from ecomrec.ingest.files import STAYS, days_between, delivered
from ecomrec.ingest.numbers import numbers
from ecomrec.ingest.poison import copy_good
from ecomrec.ingest.scratch import GOOD, Counts, Scratch, open_scratch
from ecomrec.ingest.stages import Stages, warm_up
from ecomrec.ingest.staging import Indexing, leaf, staging_table
from ecomrec.privacy import pseudonyms, tombstones
from ecomrec.settings import Settings
from ecomrec.store import open_store

BATCH_DAYS, BATCH_BYTES = 45, 400_000_000  # what load_history stages and validates together: days, bytes of files
SWAP = "swap of core.events"  # the lock by which the last steps of loads take turns
SWAP_SECONDS = 1800  # how long a swap waits, a little at a time, for readers that hold core.events
COLUMNS = ("event_day", *EVENTS.fields)
COUNTED = ("files", "rows_read", "rows_loaded", "rows_rejected", "rows_dropped", "rows_duplicate")


def load_events(settings: Settings, day: str, *, actor: str = "", accept_anyway: str = "", echo: Callable[[str], None] = print) -> dict:
    """Loads one day. Returns `{"day", "files", "rows_read", "rows_loaded", "rows_rejected", "rows_dropped", "rows_duplicate", "changes", "seconds"}`.

    `accept_anyway`: the reason why a changed schema or failed checks are let in; it is audited. Raises InputError (files missing or
    broken) or ValidationFailed (a check of severity `fail`); the live day stays.
    """
    done = _load(settings, [day], echo, actor or manifest.login(), accept_anyway)
    if done["refused"]:
        raise done["refused"][day]
    return {"day": day, **{name: done[name] for name in (*COUNTED, "changes", "seconds")}}


def load_history(settings: Settings, first: str, last: str, echo: Callable[[str], None] = print, *, actor: str = "", accept_anyway: str = "") -> dict:
    """Loads every day from `first` to `last`. Good days are loaded even when others are refused; then it raises, naming those."""
    started, total, ready = time.monotonic(), dict.fromkeys(COUNTED, 0), 0
    days, refused = days_between(first, last), {}
    for part in _batches(settings, days):
        done = _load(settings, part, echo, actor or manifest.login(), accept_anyway)
        refused |= done["refused"]
        total = {name: total[name] + done[name] for name in total}
        seconds, ready = time.monotonic() - started, ready + len(part)
        echo(f"{ready} of {len(days)} days, {total['rows_loaded']:,} rows, {total['rows_loaded'] / seconds:,.0f} rows/s, "
             f"about {seconds / ready * (len(days) - ready):.0f} s to go")
    if refused:
        worst = [f"{day}: {error.message}" for day, error in sorted(refused.items())]
        raise ValidationFailed(f"{len(refused)} of {len(days)} days were refused, the others are loaded:\n  " + "\n  ".join(worst[:20]),
                               "mend these days' files and run them again; loading the good ones again changes nothing")
    return {"first": first, "last": last, "days": len(days), **total, "seconds": round(time.monotonic() - started, 1)}


def _batches(settings: Settings, days: list[str]) -> Iterator[list[str]]:
    store, part, size = open_store(settings), [], 0
    for day in days:
        more = sum(found.bytes for found in delivered(store, "events", day))
        if part and (len(part) == BATCH_DAYS or size + more > BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(day)
        size += more
    if part:
        yield part


def _load(settings: Settings, days: list[str], echo: Callable[[str], None], actor: str, accept_anyway: str) -> dict:
    """Parses, stages, checks and swaps in `days`; returns counts and `{"refused": {day: error}}`."""
    stages, refused = Stages(), {}
    library, keys = warm_up(), pseudonyms.checked(settings)
    with open_scratch(settings, EVENTS) as scratch:
        with stages.stage("parse"):
            refused |= _parse(scratch, days)
            if gone := tombstones.erased(settings):
                scratch.leave_out(gone)
            scratch.mark_duplicates()
            counts = {day: Counts() for day in days} | scratch.counts()
        changes, fields = _schema(settings, scratch, [day for day in days if day not in refused])
        for day in days:
            for said in changes[day].told if day in changes else ():
                echo(f"{day}: {said}")
            if day not in refused:
                refused |= _contract(settings, scratch, day, counts[day], changes[day].fatal, accept_anyway)
        staged = [day for day in days if day not in refused]
        with staging_table(settings, "events", "ingest/create_staged_days") as table:
            with stages.stage("copy"):
                for day in staged:
                    try:
                        _stage(settings, scratch, table, day, counts[day])
                    except ValidationFailed as error:
                        refused[day] = error
            staged = [day for day in staged if day not in refused]
            with stages.stage("transforms"):
                if staged:
                    transforms.make(settings, scratch.duck, scratch.events(staged), staged)
            with Indexing(settings, table, staged) as indexes, stages.stage("checks"):
                if library.ident:
                    library.join()
                # The staged rows of all these days, in one table: THE place where they are checked.
                results = validation.validate(settings, table, "events", "event_day", staged, numbers=numbers(settings, scratch) if staged else [])
                sums = manifest.hashes(scratch.files)
            stages.seconds["indexes"] = indexes.seconds
            for day in days:
                if day in results and results[day].failed and not accept_anyway:
                    refused[day] = ValidationFailed(f"{day} does not pass: {'; '.join(results[day].failed)}",
                                                    f"see ops.validations; mend the shop's export, or when it is meant run the day again with `accept_anyway` and the reason; {STAYS}")
                with stages.stage("swap"):
                    _finish(settings, scratch, table, day, counts[day], results.get(day), refused.get(day), {
                        "sums": sums, "actor": actor, "stages": stages, "fields": fields.get(day), "changes": changes.get(day, schema.Changes()),
                        "accept_anyway": accept_anyway, "keys": keys})
        files = len(scratch.files)
    loaded = [counts[day] for day in staged if day not in refused]
    return {"files": files, "rows_read": sum(count.read for count in counts.values()), "rows_loaded": sum(count.good for count in loaded),
            "rows_rejected": sum(count.rejected for count in counts.values()), "rows_dropped": sum(count.dropped for count in counts.values()),
            "rows_duplicate": sum(count.duplicate for count in counts.values()), "refused": refused, "stages": stages.seconds,
            "changes": [f"{day}: {said}" for day in sorted(changes) for said in (*changes[day].told, *changes[day].fatal)], "seconds": round(stages.elapsed(), 1)}


def _parse(scratch: Scratch, days: list[str]) -> dict[str, EcomrecError]:
    """Reads the days' files; the days that cannot be read, with why."""
    refused: dict[str, EcomrecError] = {}
    for day in days:
        try:
            scratch.read_day(day)
        except InputError as error:
            refused[day] = error
    return refused


def _schema(settings: Settings, scratch: Scratch, days: list[str]) -> tuple[dict[str, schema.Changes], dict[str, dict]]:
    """What changed in the shop's fields from day to day, and the fields."""
    with database.connect(settings.shop_dsn, application="ecomrec schema") as connection:
        before = next((row["fields"] for row in database.query(connection, "ingest/last_fields", {"kind": EVENTS.kind})), None)
    changes, fields = {}, {}
    for day in days:
        fields[day] = schema.describe(scratch.shapes(day))
        changes[day] = schema.compare(EVENTS, scratch.mapping, before, fields[day])
        if not changes[day].fatal:
            before = fields[day] or before
    return changes, fields


def _contract(settings: Settings, scratch: Scratch, day: str, count: Counts, fatal: list[str], accept_anyway: str) -> dict[str, EcomrecError]:
    """`{day: why it is refused}` before anything of it is staged, or `{}`."""
    if not count.read:
        return {day: InputError(f"{day} is empty: its files have no rows", f"have the day delivered again; {STAYS}")}
    if fatal and not accept_anyway:
        return {day: ValidationFailed(f"the schema of {day} has changed: {'; '.join(fatal)}",
                                      "tell the shop, or map the new fields (ECOMREC_MAPPING); when it is meant, run the day again with `accept_anyway` and the reason")}
    if count.rejected > settings.max_rejected_share * count.read:
        return {day: ValidationFailed(
            f"{day}: {count.rejected:,} of {count.read:,} rows break the contract, more than {settings.max_rejected_share:.1%}; "
            f"the most frequent reason: {scratch.example(day)}", "see `ecomrec rejects`; mend the shop's export or the mapping and run the day again")}
    if not count.good:
        return {day: InputError(f"{day} has no event: the mapping leaves out all of its {count.dropped:,} rows", f"see [[events.drop]] of {scratch.mapping.name}; {STAYS}")}
    return {}


def _stage(settings: Settings, scratch: Scratch, table: str, day: str, count: Counts) -> None:
    """COPYs the day's good rows into a partition of the staging table. A row that Postgres does not take is set aside too."""
    query, target = scratch.good(", ".join(("day", *EVENTS.fields)).replace("context", "coalesce(context, '{}')")), leaf(table, day)

    def copy() -> None:
        with database.connect(settings.shop_dsn, application=f"ecomrec stage {day}") as connection:
            database.execute(connection, "ingest/create_staged_day", {"day": day}, leaf=target)
            scratch.stream(query, [day], lambda stream: database.copy_in(connection, target, COLUMNS, stream, freeze=True))
            database.execute(connection, "ingest/attach_staged_day", {"day": day}, table=table, leaf=target)

    copy_good(scratch, day, count, copy)


def _finish(settings: Settings, scratch: Scratch, table: str, day: str, count: Counts, result, error: EcomrecError | None, facts: dict) -> None:
    """One transaction: the day's partition (unless refused), its load, its files, its checks, its rejected rows."""
    stages: Stages = facts["stages"]
    with database.connect(settings.shop_dsn, application=f"ecomrec load {day}") as connection:
        # All locks first, in one order everywhere: the erasure's barrier, days, swaps, later the months of the daily tables. Whoever has touched core.events
        # and then waits for another load, which in the end takes the table for itself alone, waits for ever.
        tombstones.shield(connection)
        # The neighbours too, in order: an event that both days' folders bring must end in one of them.
        for near in (-1, 0, 1):
            database.lock(connection, f"events {date.fromisoformat(day) + timedelta(days=near)}")
        if error is None:
            database.lock(connection, SWAP)
        tombstones.same_key(connection, facts["keys"])
        if error is None:
            staged = count.good
            count.duplicate, count.good = _once(settings, connection, scratch, table, day, count)
            if gone := tombstones.purge(connection, leaf(table, day)):  # whoever was erased since the rows were parsed
                scratch.leave_out(tombstones.erased(settings))
            if gone or count.good != staged:
                transforms.make(settings, scratch.duck, scratch.events([day]), [day])
            count.dropped, count.good = count.dropped + gone, count.good - gone
            transforms.put(connection, scratch.duck, [day])
        load = manifest.record(connection, scratch, day, count, facts["sums"], actor=facts["actor"], seconds=stages.elapsed(), stages=stages.seconds,
                        fields=facts["fields"], changes=[*facts["changes"].told, *facts["changes"].fatal], error=error)
        let_in = [*facts["changes"].fatal, *(result.failed if result else ())] if error is None else []
        validation.record(connection, "events", day, load, result, loaded=error is None, accepted=facts["accept_anyway"] if let_in else "")
        if error is None:
            if let_in:
                database.execute(connection, "publish/audit_log", {"actor": facts["actor"], "action": "accept_anyway", "subject": f"events {day}",
                                                                  "detail": json.dumps({"reason": facts["accept_anyway"], "let_in": let_in})})
            _swap(connection, table, day)


def _once(settings: Settings, connection, scratch: Scratch, table: str, day: str, count: Counts) -> tuple[int, int]:
    """An event is counted once, in the day of its own time. Returns the duplicates and the good rows."""
    target, known = leaf(table, day), 0
    off_day = scratch.duck.execute(f"SELECT count(*) FROM parsed WHERE day = ?::DATE AND {GOOD} AND event_time::DATE <> day", [day]).fetchone()[0]
    if off_day:
        gone = [row["event_id"] for row in database.query(connection, "ingest/leave_out_known", {"day": day}, leaf=target)]
        scratch.leave_out_known(day, gone)
        known = len(gone)
    if database.execute(connection, "ingest/take_home", {"day": day}, leaf=target):  # the neighbours have lost events to this day
        transforms.run(settings, connection, [str(date.fromisoformat(day) + timedelta(days=near)) for near in (-1, 1)])
    return count.duplicate + known, count.good - known


def _swap(connection, table: str, day: str) -> None:
    """The staged partition becomes the live one. Waits for readers in short turns, so that they never queue behind it for long."""
    name, deadline, pause = f"events_{day.replace('-', '')}", time.monotonic() + SWAP_SECONDS, 1.0
    while True:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SAVEPOINT swap")
            database.execute(connection, "ingest/swap_partition", {"day": day}, table=table, leaf=leaf(table, day), name=name,
                             renamed=f"staging.{name}", partition=f"core.{name}")
            return
        except psycopg2.errors.LockNotAvailable:
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK TO SAVEPOINT swap")
            if time.monotonic() > deadline:
                raise DatabaseDown(f"core.events has been held by other sessions for {SWAP_SECONDS // 60} minutes, so {day} could not be put in",
                                   "see pg_stat_activity for long queries on core.events, end them and run the day again; nothing of it was kept") from None
            print(f"{day}: waiting for readers of core.events ...", file=sys.stderr)
            time.sleep(pause)
            pause = min(pause * 2, 30)
