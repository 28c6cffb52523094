"""The command line of ingest: `loads`, `rejects` and `check-mapping`. Heavy work is imported by the command that does it."""

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ecomrec.errors import EcomrecError
from ecomrec.settings import Settings


class Kind(StrEnum):
    """What is loaded."""

    events = "events"
    catalog = "catalog"


Of = Annotated[Kind, typer.Option(help="What was loaded.")]


def the_day(text: str) -> str:
    """`text` as a day. Raises EcomrecError."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise EcomrecError(f"{text!r} is not a day", "write it as YYYY-MM-DD, for example 2017-06-01") from None


def add(app: typer.Typer, settings) -> None:
    """Registers the commands; `settings()` gives the effective ones."""

    @app.command()
    def loads(kind: Of = Kind.events, stale: Annotated[bool, typer.Option("--stale", help="Only days whose files are not the ones that were loaded.")] = False,
              reload: Annotated[bool, typer.Option("--reload", help="Load the stale days again, from all their files.")] = False) -> None:
        """Every day's newest load: who, when, how many rows, and whether its files are still the same."""
        _loads(settings(), kind, stale, reload)

    @app.command()
    def rejects(kind: Of = Kind.events, day: Annotated[str, typer.Option(help="Only this day, YYYY-MM-DD.")] = "",
                reason: Annotated[str, typer.Option(help="Only reasons that contain this text.")] = "",
                file: Annotated[str, typer.Option(help="Only files whose key contains this text.")] = "",
                rows: Annotated[int, typer.Option(help="Show this many rows as they came, instead of counts.")] = 0,
                redrive: Annotated[bool, typer.Option("--redrive", help="Load the days concerned again, with the present mapping.")] = False) -> None:
        """Rows that were set aside: by day, reason and file, as they came, or loaded again after a mapping was mended."""
        _rejects(settings(), kind, {"kind": kind, "day": the_day(day) if day else None, "reason": f"%{reason}%", "file": f"%{file}%", "rows": rows}, redrive)

    @app.command()
    def check_mapping(mapping: Annotated[Path, typer.Argument(help="The TOML file.")], sample: Annotated[Path, typer.Argument(help="A file of the shop's rows.")],
                      kind: Of = Kind.events, day: Annotated[str, typer.Option(help="The folder's day, to check event times against.")] = "",
                      rows: Annotated[int, typer.Option(help="Rows to show.")] = 20) -> None:
        """What a mapping makes of each row of a sample, and which rows it would refuse and why. Writes nothing."""
        _check_mapping(settings(), mapping, sample, kind, the_day(day) if day else "", rows)


def _show(title: str, columns: list[str], rows: list[tuple]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*("" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value)[:120]) for value in row))
    Console().print(table)


def _loads(settings: Settings, kind: str, only_stale: bool, reload: bool) -> None:
    from ecomrec import database
    from ecomrec.ingest import load_catalog, load_events, manifest

    changed = manifest.stale(settings, kind)
    with database.connect(settings.shop_dsn, application="ecomrec loads") as connection:
        found = database.query(connection, "ingest/loads", {"kind": kind})
    shown = [(row["day"], row["state"], f"stale: {changed[str(row['day'])]}" if str(row["day"]) in changed else row["reason"] or "as delivered", row["rows_read"],
              row["rows_loaded"], row["rows_rejected"], row["rows_dropped"], row["rows_duplicate"], f"{row['seconds']:.1f}", row["actor"])
             for row in found if not only_stale or str(row["day"]) in changed]
    _show(f"{len(shown)} days, {len(changed)} stale", ["day", "state", "files", "read", "loaded", "rejected", "dropped", "twice", "seconds", "by"], shown)
    for day in sorted(changed) if reload else ():
        typer.echo(f"{day}: {(load_events if kind == 'events' else load_catalog)(settings, day)['rows_loaded']:,} rows loaded")


def _rejects(settings: Settings, kind: str, wanted: dict, redrive: bool) -> None:
    from ecomrec import database
    from ecomrec.errors import EcomrecError
    from ecomrec.ingest import load_catalog, load_events

    def counted() -> dict[str, int]:
        with database.connect(settings.shop_dsn, application="ecomrec rejects") as connection:
            found = database.query(connection, "ingest/rejects", wanted)
        if not wanted["rows"] or redrive:
            _show(f"{sum(row['rows'] for row in found):,} rows are set aside", ["day", "file", "reason", "rows"], [tuple(row.values()) for row in found])
        days: dict[str, int] = {}
        for row in found:
            days[str(row["day"])] = days.get(str(row["day"]), 0) + row["rows"]
        return days

    before = counted()
    if wanted["rows"] and not redrive:
        with database.connect(settings.shop_dsn, application="ecomrec rejects") as connection:
            _show("as they came", ["day", "file", "line", "reason", "payload"], [tuple(row.values()) for row in database.query(connection, "ingest/rejected_payloads", wanted)])
    if redrive:
        for day in sorted(before):
            try:
                (load_events if kind == "events" else load_catalog)(settings, day)
            except EcomrecError as error:
                typer.echo(f"{day}: {error}", err=True)
        after = counted()
        for day, rows in sorted(before.items()):
            typer.echo(f"{day}: {rows - after.get(day, 0):,} of {rows:,} rows are accepted now")


def _check_mapping(settings: Settings, mapping: Path, sample: Path, kind: str, day: str, rows: int) -> None:
    from ecomrec.contract import CONTRACTS
    from ecomrec.errors import InputError
    from ecomrec.ingest import mapping as mappings
    from ecomrec.ingest.files import recognise
    from ecomrec.ingest.scratch import open_scratch
    from ecomrec.store import Object

    for path in (mapping, sample):
        if not path.is_file():
            raise InputError(f"{path} is not a file", "give the mapping's TOML file first, then a sample of the shop's rows")
    if kind not in CONTRACTS:
        raise InputError(f"{kind!r} is no kind of rows", f"use {' or '.join(CONTRACTS)}")
    read = mappings.read(mapping.read_text(encoding="utf-8"), kind, str(mapping))
    with open_scratch(settings, CONTRACTS[kind], read) as scratch:
        found = recognise(day or "1970-01-01", Object(str(sample), sample.stat().st_size, ""), sample)
        scratch.read([found], any_day=not day)
        scratch.mark_duplicates()
        counted = scratch.duck.execute("""
            SELECT CASE WHEN rowid IN (SELECT row FROM doubles) THEN 'twice' WHEN dropped IS NOT NULL THEN 'dropped: ' || dropped
                        WHEN reason IS NOT NULL THEN 'refused: ' || split_part(reason, ': ', 1) ELSE 'good' END AS what, count(*) FROM parsed GROUP BY what ORDER BY 2 DESC""").fetchall()
        if not counted:
            raise InputError(f"{sample} has no rows", "give a file that has some")
        fields = list(CONTRACTS[kind].fields)
        shown = scratch.duck.execute(f"SELECT coalesce(line, rowid + 1), coalesce('dropped: ' || dropped, 'refused: ' || reason, CASE WHEN rowid IN (SELECT row FROM doubles) "
                                     f"THEN 'twice' END, 'good'), {', '.join(fields)} FROM parsed ORDER BY rowid LIMIT ?", [rows]).fetchall()
    _show(f"the first {len(shown):,} rows", ["line", "", *fields], shown)
    _show(f"all {sum(number for _, number in counted):,} rows", ["what becomes of them", "rows"], counted)
