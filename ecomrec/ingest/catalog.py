"""The catalogue: snapshots and deltas into `core.items` (now) and `core.item_history` (any day), in any order, any number of times."""

import json
from collections.abc import Callable
from functools import partial

from ecomrec import database, validation
from ecomrec.contract import CATALOG
from ecomrec.errors import EcomrecError, InputError, ValidationFailed
from ecomrec.ingest import manifest, schema
from ecomrec.ingest.files import days_between
from ecomrec.ingest.poison import copy_good
from ecomrec.ingest.scratch import Counts, Scratch, open_scratch
from ecomrec.ingest.stages import Stages, warm_up
from ecomrec.ingest.staging import staging_table
from ecomrec.settings import Settings

# A path without empty steps, or "/Home//Sofas" would be another category than "Home/Sofas", below a root without a name.
CATEGORY = "array_to_string([trim(step) FOR step IN string_split(category, '/') IF trim(step) <> ''], '/')"
ROW = {"title": "coalesce(title, '')", "category": f"coalesce({CATEGORY}, '')", "attributes": "coalesce(attributes, '{}')", "in_stock": "coalesce(in_stock, true)",
       "updated_at": "coalesce(updated_at, day::TIMESTAMPTZ)", "deleted": "coalesce(deleted, false)"}
STAYS = "the catalogue stays as it was"


def load_catalog(settings: Settings, day: str, *, actor: str = "", accept_anyway: str = "", echo: Callable[[str], None] = print) -> dict:
    """Loads one day's catalogue files. Returns `{"day", "files", "rows_read", "rows_loaded", "rows_rejected", "rows_dropped", "rows_duplicate", "seconds"}`.

    Raises InputError or ValidationFailed; the catalogue then stays as it was.
    """
    return _load(settings, [day], echo, actor or manifest.login(), accept_anyway)


def _until_next_snapshot(settings: Settings, last: str) -> list[str]:
    """The loaded days after `last` up to the next snapshot. They were kept as differences from what was known before them, so when
    an earlier day is loaded they are read again; a snapshot says all anew, and nothing behind it changes."""
    with database.connect(settings.shop_dsn, application="ecomrec catalog days") as connection:
        later = database.query(connection, "ingest/later_catalog_days", {"day": last})
    upto = next((place for place, row in enumerate(later, 1) if row["whole"]), len(later))
    return [str(row["day"]) for row in later[:upto]]


def load_catalog_history(settings: Settings, first: str, last: str, echo: Callable[[str], None] = print, *, actor: str = "",
                         accept_anyway: str = "") -> dict:
    """Loads the catalogue files of all days from `first` to `last`; days without any are passed over (a shop may send only changes)."""
    done = _load(settings, days_between(first, last), echo, actor or manifest.login(), accept_anyway, skip_missing=True)
    echo(f"{done['rows_loaded']:,} catalogue rows in {done['seconds']} s")
    return done


def _load(settings: Settings, days: list[str], echo: Callable[[str], None], actor: str, accept_anyway: str, skip_missing: bool = False) -> dict:
    stages, library = Stages(), warm_up()
    again = _until_next_snapshot(settings, days[-1])
    with open_scratch(settings, CATALOG) as scratch:
        with stages.stage("parse"):
            files = _parse(settings, scratch, days, again, skip_missing, echo)
            scratch.mark_duplicates()
            counts = {day: Counts() for day in files} | scratch.counts()
        facts = {"sums": manifest.hashes(scratch.files), "actor": actor, "fields": {}, "changes": {}, "results": {}}
        try:
            _check(settings, scratch, counts, accept_anyway, echo, facts)
            _stage_and_apply(settings, scratch, files, counts, facts, stages, library, accept_anyway, lambda: _until_next_snapshot(settings, days[-1]) == again)
        except (InputError, ValidationFailed) as error:
            with database.connect(settings.shop_dsn, application="ecomrec refuse catalog") as connection:
                for day in sorted(set(files) & set(days)):
                    _record(connection, scratch, day, counts[day], facts, stages, error)
            raise
    total = list(counts.values())
    return {"day": max(files), "files": sum(map(len, files.values())), "rows_read": sum(count.read for count in total), "rows_loaded": sum(count.good for count in total),
            "rows_rejected": sum(count.rejected for count in total), "rows_dropped": sum(count.dropped for count in total),
            "rows_duplicate": sum(count.duplicate for count in total), "seconds": round(stages.elapsed(), 1)}


def _parse(settings: Settings, scratch: Scratch, days: list[str], again: list[str], skip_missing: bool, echo: Callable[[str], None]) -> dict[str, list]:
    """The files of each day that has any. Raises InputError."""
    files = {}
    for day in (*days, *again):
        try:
            files[day] = scratch.read_day(day)
        except InputError as error:
            if "no files for" not in error.message or not (skip_missing or day in again):
                raise
            if day in again:
                echo(f"{day} was loaded after this, and its files are gone: what it said stays as it was compared with the day before")
    if not files:
        raise InputError(f"no catalogue files from {days[0]} to {days[-1]}", f"put the first snapshot under {settings.store}/raw/catalog/dt={days[0]}/")
    if found := [day for day in again if day in files]:
        echo(f"also read again, since they came after: {', '.join(found)}")
    return files


def _stage_and_apply(settings: Settings, scratch: Scratch, files: dict[str, list], counts: dict[str, Counts], facts: dict, stages: Stages, library, accept_anyway: str,
                     alone: Callable[[], bool]) -> None:
    """`alone()`: whether the days that came after these are still those that were read again."""
    columns = (*CATALOG.fields, "loaded_day")
    wanted = ", ".join([ROW.get(name, name) for name in CATALOG.fields] + ["day"])
    with staging_table(settings, "catalog", "ingest/create_staging", model="core.items") as table:
        def copy(day: str) -> None:
            with database.connect(settings.shop_dsn, application=f"ecomrec stage {day}") as connection:
                scratch.stream(scratch.good(wanted), [day], lambda stream: database.copy_in(connection, table, columns, stream))

        with stages.stage("copy"):
            for day in sorted(files):
                copy_good(scratch, day, counts[day], partial(copy, day))
        with stages.stage("checks"):
            if library.ident:
                library.join()
            snapshots = [day for day in sorted(files) if any(file.snapshot for file in files[day])]
            facts["results"] = validation.validate(settings, table, "catalog", "loaded_day", sorted(files), snapshots)
        for day, result in facts["results"].items():
            if result.failed and not accept_anyway:
                raise ValidationFailed(f"the catalogue of {day} does not pass: {'; '.join(result.failed)}",
                                       f"mend the shop's export, or when it is meant run the day again with `accept_anyway` and the reason; {STAYS}")
        with database.connect(settings.shop_dsn, application="ecomrec load catalog") as connection:
            database.lock(connection, "catalog")
            if not alone():
                raise InputError(f"another load of the catalogue ended while {sorted(files)[0]} was read, for a later day", f"run it again, it reads that day too; {STAYS}")
            for day in sorted(files):
                with stages.stage("apply"):
                    database.execute(connection, "ingest/apply_catalog", {"day": day, "whole": day in snapshots}, table=table)
                _record(connection, scratch, day, counts[day], facts, stages, None, accept_anyway)


def _record(connection, scratch: Scratch, day: str, count: Counts, facts: dict, stages: Stages, error: EcomrecError | None, accept_anyway: str = "") -> None:
    """The load and its checks; what was let in goes into the audit log."""
    result = facts["results"].get(day)
    load = manifest.record(connection, scratch, day, count, facts["sums"], actor=facts["actor"], seconds=stages.elapsed(), stages=stages.seconds,
                           fields=facts["fields"].get(day), changes=facts["changes"].get(day, []), error=error)
    let_in = result.failed if result and error is None else []
    validation.record(connection, "catalog", day, load, result, loaded=error is None, accepted=accept_anyway if let_in else "")
    if let_in:
        database.execute(connection, "publish/audit_log", {"actor": facts["actor"], "action": "accept_anyway", "subject": f"catalog {day}",
                                                          "detail": json.dumps({"reason": accept_anyway, "let_in": let_in})})


def _check(settings: Settings, scratch: Scratch, counts: dict[str, Counts], accept_anyway: str, echo: Callable[[str], None], facts: dict) -> None:
    """Fills in every day's fields and what changed in them. Raises before anything is staged: an empty day, a changed schema, too many bad rows."""
    with database.connect(settings.shop_dsn, application="ecomrec schema") as connection:
        before = next((row["fields"] for row in database.query(connection, "ingest/last_fields", {"kind": CATALOG.kind})), None)
    fields, changes = facts["fields"], facts["changes"]
    for day, count in sorted(counts.items()):
        if not count.read:
            names = ", ".join(file.key for file in scratch.files if file.day == day)
            raise InputError(f"the catalogue of {day} is empty: {names}", f"have it delivered again; {STAYS}")
        fields[day] = schema.describe(scratch.shapes(day))
        found = schema.compare(CATALOG, scratch.mapping, before, fields[day])
        changes[day] = [*found.told, *found.fatal]
        for said in found.told:
            echo(f"{day}: {said}")
        if found.fatal and not accept_anyway:
            raise ValidationFailed(f"the schema of the catalogue of {day} has changed: {'; '.join(found.fatal)}",
                                   f"tell the shop, or map the new fields (ECOMREC_MAPPING); when it is meant, run it again with `accept_anyway` and the reason; {STAYS}")
        if count.rejected > settings.max_rejected_share * count.read:
            raise ValidationFailed(f"the catalogue of {day}: {count.rejected:,} of {count.read:,} rows break the contract, for example: {scratch.example(day)}",
                                   f"mend the shop's export and run the day again; {STAYS}")
        if not count.good and any(file.snapshot for file in scratch.files if file.day == day):  # a delta may well have nothing to say
            raise InputError(f"the snapshot of {day} has no product: of its {count.read:,} rows the mapping leaves out {count.dropped:,} and {count.rejected:,} break the contract",
                             f"see [[catalog.drop]] of {scratch.mapping.name or 'the mapping'}; the whole catalogue would be marked deleted; {STAYS}")
        before = fields[day] or before
