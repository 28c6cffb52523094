"""Great Expectations on a staging table: the checks are files in `ecomrec/expectations/` and the shop's own beside them.

What compares a day with the days before it reads some fifty numbers a day (`ops.day_statistics`), never core.events.
"""

import contextlib
import io
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from ecomrec import data_docs, database
from ecomrec.errors import DatabaseDown, InputError
from ecomrec.settings import Settings, sqlalchemy_url
from ecomrec.store import open_store

FOLDER = Path(__file__).parent / "expectations"
OURS = "config/expectations"  # of the object store: the shop's own checks
SEVERITIES = {"fail": "critical", "warn": "warning"}  # as Great Expectations calls them
LOST = "server closed the connection"
AGAIN = "nothing of this step was kept; bring Postgres back and run the task again"
SAMPLED = ("price", "quantity", "position", "event_type")  # columns of which a page may show examples; none of them is about a person


@dataclass(frozen=True)
class Check:
    """One expectation's result. `observed`: what was found, in words."""

    name: str
    severity: str
    passed: bool
    observed: str


@dataclass(frozen=True)
class Result:
    """All checks of one day, its numbers, and the key of Great Expectations' page about them in the object store."""

    checks: tuple[Check, ...]
    statistics: tuple[dict, ...] = ()
    docs: str = ""

    @property
    def failed(self) -> list[str]:
        """Names, with what was observed, of the failed checks that keep the day out."""
        return [f"{check.name}: {check.observed}" for check in self.checks if check.severity == "fail" and not check.passed]


def library():
    """Great Expectations. It takes seconds to import (a load does that while it parses), and would report its use to its makers."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations

    return great_expectations


def suite_of(settings: Settings, suite: str) -> list[dict]:
    """The checks of `suite`: the generic ones, and the shop's own, which replace or switch off those of the same name.

    Raises InputError naming the file and the check that is not in order.
    """
    own = f"{settings.expectations}/{suite}.toml" if settings.expectations else None
    path = Path(own) if own and Path(own).is_absolute() else None
    text = (path.read_text(encoding="utf-8") if path.is_file() else None) if path else open_store(settings).read_text(own or f"{OURS}/{suite}.toml")
    checks = {}
    for source, content in ((FOLDER / f"{suite}.toml", (FOLDER / f"{suite}.toml").read_text(encoding="utf-8")), (own or f"{OURS}/{suite}.toml", text or "")):
        try:
            found = tomllib.loads(content).get("expectation", [])
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{source} is not TOML: {error}", "mend the file and run the day again") from None
        if not isinstance(found, list) or not all(isinstance(check, dict) for check in found):
            raise InputError(f"{source}: `expectation` is not a list of checks", "begin each check with [[expectation]], in two pairs of brackets")
        for check in found:
            name = check.get("name")
            if not check.get("enabled", True):
                checks.pop(name, None)
                continue
            if not name or check.get("severity") not in SEVERITIES or ("query" in check) == ("type" in check):
                raise InputError(f"{source}: the check {name!r} is not in order", "give it a name, a severity (fail or warn), and either a query or a type")
            checks[name] = check
    return list(checks.values())


def validate(settings: Settings, table: str, suite: str, day_column: str, days: list[str], whole: list[str] | None = None,
             numbers: list[tuple] | None = None) -> dict[str, Result]:
    """The result of each day in `days`, which are checked in one go. `whole`: the days whose catalogue is a snapshot;
    `numbers`: what is known of the days already, rows (day, dimension, value, amount); without it sql/validation asks Postgres.

    A check that is a query says itself which days are wrong; of the others only those that fail are taken apart by day.
    """
    from ecomrec.ingest.staging import staging_table

    if not days:
        return {}
    days = sorted(days)
    checks = suite_of(settings, suite)
    with staging_table(settings, "statistics", "validation/create_statistics") as statistics:
        kept = _statistics(settings, table, suite, days, whole or [], numbers, statistics)
        run = _Run(settings, table, day_column, days, statistics)
        try:
            found = run.validate(checks, days)
            verdicts = [run.by_day(check, days, found[check["name"]]) for check in checks]
        except Exception as error:
            if _lost(error):
                raise DatabaseDown(f"Postgres went away during the checks: {str(error).splitlines()[0]}", AGAIN) from error
            raise
    docs = data_docs.write(settings, run.gx, "The shop's " + suite, suite, days, [_unnamed(result) for result in found.values() if not isinstance(result, Exception)])
    return {day: Result(tuple(verdict[day] for verdict in verdicts), tuple(row for row in kept if str(row["day"]) == day), docs) for day in days}


def record(connection, kind: str, day: str, load_id: int, result: Result | None, *, loaded: bool, accepted: str = "") -> None:
    """Keeps the load's checks and, when the day was loaded, its numbers, with which later days are compared."""
    if result is None:
        return
    for check in result.checks:
        database.execute(connection, "validation/record", {"load_id": load_id, "kind": kind, "day": day, "expectation": check.name,
                                                           "severity": check.severity, "passed": check.passed, "observed": check.observed})
    database.execute(connection, "validation/accepted", {"load_id": load_id, "accepted": accepted or None, "docs": result.docs or None})
    if loaded:
        database.execute(connection, "validation/clear_statistics", {"kind": kind, "day": day})
        for row in result.statistics:
            database.execute(connection, "validation/keep_statistic", row)


def _statistics(settings: Settings, table: str, suite: str, days: list[str], whole: list[str], numbers: list[tuple] | None, statistics: str) -> list[dict]:
    """Fills the table `statistics` with the days' numbers and what is usual; returns its rows."""
    with database.connect(settings.shop_dsn, application="ecomrec statistics") as connection:
        if numbers is None:
            database.execute(connection, f"validation/statistics_{suite}", {"days": days, "whole": whole}, table=table, statistics=statistics)
        else:
            columns = dict(zip(("days", "dimensions", "values", "amounts"), map(list, zip(*numbers, strict=True)), strict=True))
            database.execute(connection, "validation/put_statistics", {"kind": suite, **columns}, statistics=statistics)
        database.execute(connection, "validation/usual", {"kind": suite, "first": days[0], "last": days[-1], "days": days}, statistics=statistics)
        return database.query(connection, "validation/statistics", statistics=statistics)


class _Run:
    """Great Expectations on one staging table."""

    def __init__(self, settings: Settings, table: str, day_column: str, days: list[str], statistics: str):
        self.gx = library()
        self.context = self.gx.get_context(mode="ephemeral")
        self.context.variables.progress_bars = {"globally": False}
        self.source = self.context.data_sources.add_postgres("shop", connection_string=sqlalchemy_url(settings.shop_dsn))
        self.settings, self.table, self.day_column, self.days, self.statistics = settings, table, day_column, days, statistics

    def validate(self, checks: list[dict], days: list[str]) -> dict:
        """All checks on all days in one go: check name -> Great Expectations' result."""
        # A table, never a query: to learn a query's columns Great Expectations fetches all of its rows.
        schema, _, name = (self.table if days == self.days else self._part(days)).partition(".")
        asset = self.source.add_table_asset(f"{checks[0]['name']} {days[0]} {len(days)}", table_name=name, schema_name=schema)
        batch = asset.add_batch_definition_whole_table("whole").get_batch()
        found = {}
        for complete in (True, False):  # queries with their rows; columns with counts and a few examples
            part = [check for check in checks if ("query" in check) == complete]
            if not part:
                continue
            wanted = self.gx.ExpectationSuite(name=f"{self.table} {complete} {days[0]} {len(days)} {part[0]['name']}")
            for check in part:
                try:
                    wanted.add_expectation(self._expectation(check))
                except Exception as error:
                    found[check["name"]] = error
            how = {"result_format": "COMPLETE"} if complete else {"result_format": "SUMMARY", "partial_unexpected_count": 5}
            if wanted.expectations:
                found |= {one.expectation_config.meta["name"]: one for one in batch.validate(wanted, result_format=how).results}
        return found

    def _part(self, days: list[str]) -> str:
        """A view of these days of the table; it goes when the table goes."""
        view = f"{self.table}_{days[0].replace('-', '')}_{len(days)}"
        with database.connect(self.settings.shop_dsn, application="ecomrec checks") as connection:
            database.execute(connection, "validation/create_part", {"days": days}, view=view, table=self.table, day=self.day_column)
        return view

    def by_day(self, check: dict, days: list[str], result) -> dict[str, Check]:
        """The verdict of each day."""
        def verdict(passed: bool, observed: str) -> Check:
            return Check(check["name"], check["severity"], passed, observed[:500])

        broken = str(result) if isinstance(result, Exception) else _raised(result)
        if LOST in broken:  # not the day's fault
            raise DatabaseDown(f"Postgres went away during the check {check['name']!r}", AGAIN)
        if broken:
            return dict.fromkeys(days, verdict(False, f"the check could not run: {broken}"))
        if "query" in check:
            wrong: dict[str, list[str]] = {}
            for row in (result.result.get("details") or {}).get("unexpected_rows") or []:
                day, *facts = dict(row).items()
                wrong.setdefault(str(day[1])[:10], []).append(", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in facts))
            if set(wrong) <= set(days) and bool(wrong) != bool(result.success):
                return {day: verdict(day not in wrong, "; ".join(filter(None, wrong.get(day, []))) or ("as it should be" if day not in wrong else "not so")) for day in days}
        if result.success or len(days) == 1:
            return dict.fromkeys(days, verdict(bool(result.success), _observed(check, result)))
        half = len(days) // 2
        return {day: found for part in (days[:half], days[half:]) for day, found in self.by_day(check, part, self.validate([check], part)[check["name"]]).items()}

    def _expectation(self, check: dict):
        told = check["name"] + (" (a warning: the day is loaded all the same)" if check["severity"] == "warn" else "")  # the page says "Failed" of both
        facts = {"severity": SEVERITIES[check["severity"]], "description": told, "meta": {"name": check["name"]}}
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that a query without {batch} reads something else: on purpose
            if "query" in check:
                query = check["query"].strip().replace("{statistics}", self.statistics)
                return self.gx.expectations.UnexpectedRowsExpectation(unexpected_rows_query=query, **facts)
            arguments = {name: value for name, value in check.items() if name not in ("name", "severity", "type", "enabled")}
            return getattr(self.gx.expectations, check["type"])(**arguments, **facts)


def _lost(error: BaseException | None) -> bool:
    """True when a lost connection is what the error comes from, however wrapped."""
    while error is not None:
        if isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _unnamed(result):
    """The result without examples from columns that may be about a person: its page is there to be shown."""
    if result.expectation_config.kwargs.get("column") not in (None, *SAMPLED):
        result.result = {name: value for name, value in result.result.items() if not name.startswith(("partial_", "unexpected_list", "unexpected_index"))}
    return result


def _raised(result) -> str:
    about = result.exception_info or {}
    cases = [about] if "raised_exception" in about else list(about.values())
    return next((str(case.get("exception_message")) for case in cases if isinstance(case, dict) and case.get("raised_exception")), "")


def _plain(value) -> str:
    return f"{float(value):,.10g}" if isinstance(value, (int, float)) or type(value).__name__ == "Decimal" else str(value)


def _observed(check: dict, result) -> str:
    said = result.result
    if "unexpected_count" not in said:
        return f"{said.get('observed_value')} rows found"
    if not said["element_count"]:  # of no rows Great Expectations counts nothing
        return "no rows"
    observed = f"{said['unexpected_count']:,} of {said['element_count']:,} rows are not so"
    if said.get("partial_unexpected_list") and check.get("column") in SAMPLED:
        observed += f", for example {said['partial_unexpected_list'][0]!r}"
    return observed
