"""Great Expectations on staging: the files are in order, `warn` is recorded without refusing, a broken check is not a passed one."""

import tomllib

import pytest

from ecomrec import contract, ingest, validation
from tests.shopdata import rows
from tests.test_ingest import DAY, deliver, event

SUITES = sorted(validation.FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_check_has_a_unique_name_a_severity_and_a_known_type(path):
    import great_expectations as gx

    checks = tomllib.loads(path.read_text(encoding="utf-8"))["expectation"]
    assert len({check["name"] for check in checks}) == len(checks)
    assert {check["severity"] for check in checks} <= {"fail", "warn"}
    assert all(hasattr(gx.expectations, check["type"]) for check in checks)


def test_the_checks_know_the_event_types_of_the_contract():
    checks = tomllib.loads((validation.FOLDER / "events.toml").read_text(encoding="utf-8"))["expectation"]
    assert [tuple(check["value_set"]) for check in checks if check.get("column") == "event_type"] == [contract.EVENT_TYPES]


def test_a_warning_is_recorded_and_the_day_is_loaded(shop):
    deliver(shop, [event(n, event_type="click") for n in range(50)])  # no purchases, and no catalogue at all
    assert ingest.load_events(shop, DAY)["rows_loaded"] == 50
    warned = {name for (name,) in rows(shop.shop_dsn, "SELECT expectation FROM ops.validations WHERE NOT passed AND severity = 'warn'")}
    assert warned == {"a day has purchases", "items are in the catalogue (at most 5 % are not)"}


def test_each_day_gets_its_own_verdict(shop):
    days = ["2017-03-01", "2017-03-02", "2017-03-03"]
    for day in days:
        deliver(shop, [event(n, day, event_type="click" if day == "2017-03-02" else "purchase") for n in range(20)], day)
    ingest.load_history(shop, days[0], days[-1], echo=lambda line: None)
    assert rows(shop.shop_dsn, "SELECT day::text, passed FROM ops.validations WHERE expectation = 'a day has purchases' ORDER BY day") == [
        ("2017-03-01", True), ("2017-03-02", False), ("2017-03-03", True)]


def test_a_check_that_cannot_run_is_a_failed_check(shop, tmp_path, monkeypatch):
    (tmp_path / "events.toml").write_text('[[expectation]]\nname = "broken"\nseverity = "fail"\ntype = "ExpectColumnValuesToNotBeNull"\ncolumn = "no_such"\n')
    monkeypatch.setattr(validation, "FOLDER", tmp_path)
    result = validation.validate(shop, "core.events", "events", "event_day", [DAY])[DAY]
    assert len(result.failed) == 1 and result.failed[0].startswith("broken: ")
