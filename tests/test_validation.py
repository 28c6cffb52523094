"""Great Expectations on staging: the files are in order, `warn` is recorded without refusing, a broken check is not a passed one."""

import tomllib
from pathlib import Path

import pytest

from ecomrec import contract, ingest, validation
from ecomrec.errors import InputError, ValidationFailed
from tests.shopdata import rows
from tests.test_ingest import DAY, deliver, event

SUITES = sorted(validation.FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_check_has_a_unique_name_a_severity_and_a_known_type(path):
    import great_expectations as gx

    checks = tomllib.loads(path.read_text(encoding="utf-8"))["expectation"]
    assert len({check["name"] for check in checks}) == len(checks)
    assert {check["severity"] for check in checks} <= {"fail", "warn"}
    assert all("query" in check or hasattr(gx.expectations, check["type"]) for check in checks)


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
    result = validation.validate(shop, "core.events", "events", "event_day", [DAY], numbers=[(DAY, "day", "rows", 1.0)])[DAY]
    assert len(result.failed) == 1 and result.failed[0].startswith("broken: ")


def test_a_load_has_a_page_of_its_checks_without_anybody_in_it(shop, tmp_path):
    own = Path(shop.store.removeprefix("file://")) / "config/expectations"
    own.mkdir(parents=True)
    (own / "events.toml").write_text('[[expectation]]\nname = "users are short"\nseverity = "warn"\ntype = "ExpectColumnValueLengthsToBeBetween"\ncolumn = "user_id"\nmax_value = 3\n'
                                     '[[expectation]]\nname = "cheap"\nseverity = "warn"\ntype = "ExpectColumnValuesToBeBetween"\ncolumn = "price"\nmax_value = 1\n')
    deliver(shop, [event(n) for n in range(50)])
    ingest.load_events(shop, DAY)
    (key, user), = rows(shop.shop_dsn, "SELECT docs, (SELECT min(user_id) FROM core.events) FROM ops.loads")
    page = (Path(shop.store.removeprefix("file://")) / key).read_text(encoding="utf-8")
    assert DAY in page and "user_id" in page and "quantity" in page and "1.5" in page and "(a warning: the day is loaded all the same)" in page
    assert user not in page
    assert "<script" not in page
    assert "http" not in page


def weekdays(shop, counts: dict[str, int], **changes) -> None:
    for day, count in counts.items():
        deliver(shop, [event(n, day, event_id=f"{day}-{n}", event_time=f"{day}T{8 + n % 12:02}:00:00Z", **changes) for n in range(count)], day)


PAST = {f"2017-03-{day:02}": 40 for day in range(1, 11)}


def test_a_day_is_compared_with_the_days_before_it(shop):
    weekdays(shop, PAST)
    ingest.load_history(shop, "2017-03-01", "2017-03-10", echo=lambda line: None)
    assert rows(shop.shop_dsn, "SELECT amount, usual FROM ops.day_statistics WHERE value = 'rows' AND day = '2017-03-10'") == [(40, 40)]
    weekdays(shop, {"2017-03-11": 7})
    with pytest.raises(ValidationFailed, match=r"not a fifth.*rows 7, usual 40"):
        ingest.load_events(shop, "2017-03-11")
    assert rows(shop.shop_dsn, "SELECT count(*) FROM ops.day_statistics WHERE day = '2017-03-11'") == [(0,)]
    weekdays(shop, {"2017-03-11": 15}, price=9, session_id="s")
    ingest.load_events(shop, "2017-03-11")
    warned = dict(rows(shop.shop_dsn, "SELECT expectation, observed FROM analytics.validations WHERE newest AND NOT passed AND day = '2017-03-11'"))
    assert warned["the day is as large as usual (half to double)"] == "rows 15, usual 40"
    assert warned["prices are what they were (a third to three times)"] == "mean paid 9, usual 1.5"
    assert rows(shop.shop_dsn, "SELECT count(DISTINCT load_id) FROM ops.validations WHERE day = '2017-03-11'") == [(2,)], "the history of the checks stays"


def test_hours_types_and_the_last_event_are_compared_when_there_are_rows_enough(shop):
    weekdays(shop, {day: 1200 for day in list(PAST)[:8]})
    ingest.load_history(shop, "2017-03-01", "2017-03-08", echo=lambda line: None)
    deliver(shop, [event(n, "2017-03-09", event_id=f"x{n}", event_time="2017-03-09T08:00:00Z", event_type="click") for n in range(1200)], "2017-03-09")
    ingest.load_events(shop, "2017-03-09")
    warned = {name for (name,) in rows(shop.shop_dsn, "SELECT expectation FROM analytics.validations WHERE newest AND NOT passed AND day = '2017-03-09'")}
    assert {"hours are as busy as usual", "event types are mixed as usual", "the newest event is as late as usual (3 hours)", "a day has purchases"} <= warned


def test_accept_anyway_needs_a_reason_and_is_audited(shop):
    deliver(shop, [event(n, price=-5) for n in range(100)])
    with pytest.raises(ValidationFailed, match="accept_anyway"):
        ingest.load_events(shop, DAY)
    assert ingest.load_events(shop, DAY, actor="ada", accept_anyway="refund day")["rows_loaded"] == 100
    [(actor, reason, let_in)] = rows(shop.shop_dsn, "SELECT actor, detail ->> 'reason', detail ->> 'let_in' FROM ops.audit_log WHERE action = 'accept_anyway'")
    assert (actor, reason) == ("ada", "refund day") and "prices are between" in let_in
    assert rows(shop.shop_dsn, "SELECT state, accepted FROM ops.loads ORDER BY load_id") == [("refused", None), ("loaded", "refund day")]


def test_the_shops_own_checks_replace_add_and_switch_off(shop, tmp_path):
    path = tmp_path / "store" / validation.OURS / "events.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[[expectation]]\nname = "a day has purchases"\nenabled = false\n'
                    '[[expectation]]\nname = "prices are between 0 and 100,000"\nseverity = "warn"\ntype = "ExpectColumnValuesToBeBetween"\ncolumn = "price"\nmax_value = 1\n'
                    '[[expectation]]\nname = "ours"\nseverity = "fail"\nquery = "SELECT day, amount AS rows FROM {statistics} WHERE value = \'rows\' AND amount < 10"\n')
    deliver(shop, [event(n) for n in range(9)])
    with pytest.raises(ValidationFailed, match="ours: rows 9"):
        ingest.load_events(shop, DAY)
    found = dict(rows(shop.shop_dsn, "SELECT expectation, severity FROM ops.validations"))
    assert found["prices are between 0 and 100,000"] == "warn" and "a day has purchases" not in found
    path.write_text('[[expectation]]\nname = "no severity"\n')
    with pytest.raises(InputError, match=r"events\.toml: the check 'no severity'"):
        validation.suite_of(shop, "events")
    for wrong in ('[expectation]\nname = "one pair of brackets"\n', 'expectation = ["a text"]\n'):
        path.write_text(wrong)
        with pytest.raises(InputError, match=r"events\.toml: `expectation` is not a list of checks"):
            validation.suite_of(shop, "events")


def test_an_empty_snapshot_counts_as_one_of_no_products(shop):
    from ecomrec.ingest.staging import staging_table
    from tests.test_ingest import NEXT, product

    deliver(shop, [product(f"i{n}") for n in range(20)], DAY, "catalog", "snapshot-0.jsonl.gz")
    ingest.load_catalog(shop, DAY)
    with staging_table(shop, "catalog", "ingest/create_staging", model="core.items") as table:
        found = validation.validate(shop, table, "catalog", "loaded_day", [NEXT], [NEXT])[NEXT]
    assert found.failed == ["a snapshot keeps most of the catalogue (70 %): products 0, the day before 20"]


def test_a_snapshot_that_lost_half_of_the_shop_is_refused(shop):
    from tests.test_ingest import NEXT, product

    deliver(shop, [product(f"i{n}") for n in range(20)], DAY, "catalog", "snapshot-0.jsonl.gz")
    ingest.load_catalog(shop, DAY)
    deliver(shop, [product(f"i{n}") for n in range(9)], NEXT, "catalog", "snapshot-0.jsonl.gz")
    with pytest.raises(ValidationFailed, match="a snapshot keeps most of the catalogue"):
        ingest.load_catalog(shop, NEXT)
    ingest.load_catalog(shop, NEXT, accept_anyway="the garden range is closed")
    assert rows(shop.shop_dsn, "SELECT count(*) FROM core.items WHERE deleted") == [(11,)]
