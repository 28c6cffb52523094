"""Great Expectations on a staging table: the checks are files in `ecomrec/expectations/`, the results go to ops.validations."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from ecomrec import database
from ecomrec.settings import Settings, sqlalchemy_url

FOLDER = Path(__file__).parent / "expectations"


@dataclass(frozen=True)
class Check:
    """One expectation's result. `observed`: what was found, in words."""

    name: str
    severity: str
    passed: bool
    observed: str


@dataclass(frozen=True)
class Result:
    """All checks of one day."""

    checks: tuple[Check, ...]

    @property
    def failed(self) -> list[str]:
        """Names, with what was observed, of the failed checks that keep the day out."""
        return [f"{check.name}: {check.observed}" for check in self.checks if check.severity == "fail" and not check.passed]


def library():
    """Great Expectations. It takes seconds to import (a load does that while it parses), and would report its use to its makers."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations

    return great_expectations


def validate(settings: Settings, table: str, suite: str, day_column: str, days: list[str]) -> dict[str, Result]:
    """The result of each day in `days`. Many days are checked in one go; only when that fails are they taken apart."""
    if not days:
        return {}
    gx = library()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_postgres("shop", connection_string=sqlalchemy_url(settings.shop_dsn))
    wanted = tomllib.loads((FOLDER / f"{suite}.toml").read_text(encoding="utf-8"))["expectation"]

    def check(part: list[str]) -> dict[str, Result]:
        # Days are dates that we made ourselves, so they may stand in the text of the query.
        listed = ", ".join(f"date '{day}'" for day in part)
        query = f"SELECT * FROM {table} WHERE {day_column} IN ({listed})"
        asset = source.add_query_asset(f"{suite} {part[0]} {len(part)}", query=query)
        batch = asset.add_batch_definition_whole_table("whole").get_batch()
        result = Result(tuple(_check(gx, batch, one) for one in wanted))
        if len(part) == 1 or all(found.passed for found in result.checks):
            return dict.fromkeys(part, result)
        half = len(part) // 2
        return check(part[:half]) | check(part[half:])

    return check(sorted(days))


def record(connection, kind: str, day: str, result: Result | None) -> None:
    """Replaces the day's results in ops.validations."""
    database.execute(connection, "validation/clear", {"kind": kind, "day": day})
    for check in result.checks if result else ():
        database.execute(connection, "validation/record", {"kind": kind, "day": day, "expectation": check.name, "severity": check.severity,
                                                           "passed": check.passed, "observed": check.observed})


def _check(gx, batch, one: dict) -> Check:
    arguments = {name: value for name, value in one.items() if name not in ("name", "severity", "type")}
    found = batch.validate(getattr(gx.expectations, one["type"])(**arguments), result_format="SUMMARY")
    if found.exception_info.get("raised_exception"):
        return Check(one["name"], one["severity"], False, str(found.exception_info.get("exception_message"))[:500])
    said = found.result
    if "unexpected_count" in said:
        observed = f"{said['unexpected_count']:,} of {said['element_count']:,} rows are not so"
        if said.get("partial_unexpected_list"):
            observed += f", for example {said['partial_unexpected_list'][0]!r}"
    else:
        observed = f"{said.get('observed_value')} rows found"
    return Check(one["name"], one["severity"], bool(found.success), observed[:500])
