"""Loading a day: whole or not at all, twice is once, and every bad row is set aside with its file, line and reason."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ecomrec import ingest
from ecomrec.database import connect
from ecomrec.errors import InputError, ValidationFailed
from ecomrec.runtime import overrides
from tests.shopdata import rows

DAY, NEXT = "2017-03-01", "2017-03-02"


def event(number: int, day: str = DAY, **changes) -> dict:
    return {"event_id": f"e{number}", "event_time": f"{day}T10:00:00Z", "user_id": f"u{number % 7}", "event_type": "purchase", "item_id": f"i{number % 5}",
            "price": 1.5, "quantity": 2, **changes}


def deliver(settings, records, day: str = DAY, kind: str = "events", name: str = "part-000.jsonl.gz") -> None:
    folder = os.path.join(settings.store.removeprefix("file://"), "raw", kind, f"dt={day}")
    os.makedirs(folder, exist_ok=True)
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    with gzip.open(os.path.join(folder, name), "wt", encoding="utf-8") as stream:
        stream.writelines(line + "\n" for line in lines)


def live(settings) -> list:
    return rows(settings.shop_dsn, "SELECT * FROM core.events ORDER BY event_day, event_id")


def test_a_day_is_loaded_and_again_gives_the_same_rows(shop):
    deliver(shop, [event(n) for n in range(300)])
    done = ingest.load_events(shop, DAY)
    assert (done["rows_read"], done["rows_loaded"], done["rows_rejected"]) == (300, 300, 0)
    before = live(shop)
    assert len(before) == 300
    ingest.load_events(shop, DAY)
    assert live(shop) == before
    assert rows(shop.shop_dsn, "SELECT count(*), bool_and(passed) FROM ops.validations WHERE severity = 'fail'") == [(12, True)]  # of both loads
    assert rows(shop.shop_dsn, "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace") == []


def test_bad_rows_are_set_aside_with_file_line_and_reason(shop):
    bad = [event(1000, event_type="teleport"), "{not json", event(1002, user_id=None), event(1003, event_time="2016-01-01T00:00:00Z"),
           event(1004, item_id=None), event(1005, price="cheap")]
    deliver(shop, [event(n) for n in range(700)] + bad)
    assert ingest.load_events(shop, DAY)["rows_rejected"] == 6
    found = rows(shop.shop_dsn, "SELECT line, reason, payload FROM ops.rejected_rows ORDER BY line")
    assert [line for line, _, _ in found] == [701, 702, 703, 704, 705, 706]
    assert [reason for _, reason, _ in found] == ["unknown event_type teleport", "not a JSON object", "user_id is missing",
                                                  "event_time is not of this day: 2016-01-01T00:00:00Z", "item_id is missing", "price is not a number: cheap"]
    assert found[1][2] == "{aaa aaaa", "of a line that cannot be understood only the outline is kept"
    ingest.load_events(shop, DAY)
    assert rows(shop.shop_dsn, "SELECT count(*) FROM ops.rejected_rows") == [(6,)]


def test_unknown_fields_go_to_context(shop):
    deliver(shop, [event(1, context={"store": "5"}, mood="good")])
    ingest.load_events(shop, DAY)
    assert rows(shop.shop_dsn, "SELECT context FROM core.events") == [({"store": "5", "mood": "good"},)]


def test_duplicates_within_and_across_files_are_loaded_once(shop):
    deliver(shop, [event(n) for n in range(50)] * 2)
    deliver(shop, [event(n) for n in range(25, 75)], name="part-001.jsonl.gz")
    ingest.load_events(shop, DAY)
    assert len(live(shop)) == 75


def test_csv_and_parquet_give_the_same_rows(shop, tmp_path):
    import duckdb

    deliver(shop, [event(n) for n in range(40)])
    ingest.load_events(shop, DAY)
    before = rows(shop.shop_dsn, "SELECT event_id, event_time, user_id, price, quantity, context FROM core.events ORDER BY 1")
    folder = os.path.join(shop.store.removeprefix("file://"), "raw", "events", f"dt={DAY}")
    for name, how in (("a.csv", "FORMAT csv, HEADER"), ("a.parquet", "FORMAT parquet"), ("a.csv.gz", "FORMAT csv, HEADER, COMPRESSION gzip")):
        source = tmp_path / "source.jsonl"
        source.write_text("\n".join(json.dumps(event(n)) for n in range(40)))
        for old in os.listdir(folder):
            os.unlink(os.path.join(folder, old))
        duckdb.sql(f"COPY (SELECT * FROM read_json('{source}', format = 'newline_delimited', columns = {{event_id: 'VARCHAR', event_time: 'VARCHAR', "
                   f"user_id: 'VARCHAR', event_type: 'VARCHAR', item_id: 'VARCHAR', price: 'DOUBLE', quantity: 'INTEGER'}})) TO '{folder}/{name}' ({how})")
        ingest.load_events(shop, DAY)
        assert rows(shop.shop_dsn, "SELECT event_id, event_time, user_id, price, quantity, context FROM core.events ORDER BY 1") == before, name


@pytest.fixture
def good_day(shop):
    deliver(shop, [event(n) for n in range(100)])
    ingest.load_events(shop, DAY)
    return live(shop)


def test_a_missing_day_names_the_folder(shop, good_day):
    with pytest.raises(InputError, match=f"raw/events/dt={NEXT}/ is missing or empty"):
        ingest.load_events(shop, NEXT)
    assert live(shop) == good_day


def test_a_truncated_gzip_names_the_file_and_the_day_stays(shop, good_day):
    path = os.path.join(shop.store.removeprefix("file://"), "raw", "events", f"dt={DAY}", "part-000.jsonl.gz")
    deliver(shop, [event(n, note=os.urandom(40).hex()) for n in range(3000)])
    with open(path, "r+b") as stream:
        stream.truncate(os.path.getsize(path) // 2)
    with pytest.raises(InputError, match=r"part-000\.jsonl\.gz cannot be read"):
        ingest.load_events(shop, DAY)
    assert live(shop) == good_day
    assert rows(shop.shop_dsn, "SELECT state FROM ops.loads ORDER BY load_id DESC LIMIT 1") == [("refused",)]


def test_an_empty_day_is_refused(shop, good_day):
    deliver(shop, [])
    with pytest.raises(InputError, match="is empty"):
        ingest.load_events(shop, DAY)
    assert live(shop) == good_day


def test_a_file_of_an_unknown_format_is_named(shop, good_day):
    deliver(shop, [], name="notes.txt")
    with pytest.raises(InputError, match=r"notes\.txt is of no known format"):
        ingest.load_events(shop, DAY)


def test_too_many_bad_rows_refuse_the_day(shop, good_day):
    deliver(shop, [event(n) for n in range(50)] + [event(n, event_type="dance") for n in range(50, 60)])
    with pytest.raises(ValidationFailed, match=r"10 of 60 rows break the contract.*unknown event_type dance"):
        ingest.load_events(shop, DAY)
    assert live(shop) == good_day


def test_a_failed_expectation_refuses_the_day(shop, good_day):
    deliver(shop, [event(n, price=-5) for n in range(100)])
    with pytest.raises(ValidationFailed, match="prices are between"):
        ingest.load_events(shop, DAY)
    assert live(shop) == good_day
    assert rows(shop.shop_dsn, "SELECT passed FROM analytics.validations WHERE newest AND expectation LIKE 'prices are between%%'") == [(False,)]


def test_history_loads_the_good_days_and_names_the_bad_one(shop):
    days = [f"2017-03-{number:02}" for number in range(1, 9)]
    for day in days:
        deliver(shop, [event(n, day, event_id=f"{day}-{n}", price=-1 if day == "2017-03-05" else 1) for n in range(20)], day)
    os.unlink(os.path.join(shop.store.removeprefix("file://"), "raw", "events", "dt=2017-03-07", "part-000.jsonl.gz"))
    with pytest.raises(ValidationFailed, match=r"(?s)2 of 8 days were refused.*2017-03-05.*prices.*2017-03-07.*missing"):
        ingest.load_history(shop, days[0], days[-1], echo=lambda line: None)
    assert [str(day) for (day,) in rows(shop.shop_dsn, "SELECT DISTINCT event_day FROM core.events ORDER BY 1")] == [
        day for day in days if day not in ("2017-03-05", "2017-03-07")]


def test_two_loads_of_one_day_at_once_take_turns(shop):
    deliver(shop, [event(n) for n in range(500)])
    processes = [_loader(shop) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert len(live(shop)) == 500


@pytest.mark.slow
def test_a_loader_killed_at_any_moment_leaves_the_day_as_it_was(shop, good_day, tmp_path):
    shop = shop.model_copy(update={"scratch": tmp_path / "scratch"})
    deliver(shop, [event(n, quantity=9) for n in range(20_000)])
    for seconds in (0.6, 1.2, 2.0, 2.6, 3.2, 3.8):
        process = _loader(shop)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = live(shop)
        assert found == good_day or len(found) == 20_000
    ingest.load_events(shop, DAY)
    assert rows(shop.shop_dsn, "SELECT count(*), min(quantity) FROM core.events") == [(20_000, 9.0)]
    assert rows(shop.shop_dsn, "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace") == []
    assert list(shop.scratch.iterdir()) == [], "a killed load leaves nothing on disk once another has run"


def _loader(settings) -> subprocess.Popen:
    code = f"from ecomrec.settings import Settings; from ecomrec.ingest import load_events; load_events(Settings(), '{DAY}')"
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **overrides(settings)})


def product(item: str, **changes) -> dict:
    return {"item_id": item, "title": f"Thing {item}", "category": "A/B", "price": 1.0, "updated_at": f"{DAY}T00:00:00Z", **changes}


def history(settings) -> list:
    return rows(settings.shop_dsn, "SELECT item_id, valid_from::text, valid_to::text, price, deleted FROM core.item_history ORDER BY 1, 2")


def test_snapshots_and_deltas_make_the_catalogue_and_its_history(shop):
    deliver(shop, [product("a"), product("b"), product("c")], "2017-03-01", "catalog", "snapshot-000.jsonl.gz")
    deliver(shop, [product("b", price=2.0)], "2017-03-03", "catalog", "delta-000.jsonl.gz")
    deliver(shop, [product("a"), product("b", price=2.0)], "2017-03-05", "catalog", "snapshot-000.jsonl.gz")
    done = ingest.load_catalog_history(shop, "2017-03-01", "2017-03-06", echo=lambda line: None)
    assert done["rows_loaded"] == 6
    expected = [("a", "2017-03-01", None, 1.0, False), ("b", "2017-03-01", "2017-03-03", 1.0, False), ("b", "2017-03-03", None, 2.0, False),
                ("c", "2017-03-01", "2017-03-05", 1.0, False), ("c", "2017-03-05", None, 1.0, True)]
    assert history(shop) == expected
    for day in ("2017-03-03", "2017-03-01", "2017-03-05"):
        ingest.load_catalog(shop, day)
    assert history(shop) == expected
    assert rows(shop.shop_dsn, "SELECT item_id, price, deleted FROM core.items ORDER BY 1") == [("a", 1.0, False), ("b", 2.0, False), ("c", 1.0, True)]


def test_a_late_catalogue_day_gives_the_history_that_order_would_have_given(shop):
    says = {"2017-03-01": ("snapshot", [product("a"), product("b")]), "2017-03-02": ("delta", [product("a", price=2.0), product("c")]),
            "2017-03-03": ("delta", [product("a", price=2.0)]), "2017-03-05": ("snapshot", [product("a"), product("b"), product("d")]),
            "2017-03-07": ("delta", [product("c", price=7.0)])}
    for day, (kind, products) in says.items():
        deliver(shop, products, day, "catalog", f"{kind}-000.jsonl.gz")
    ingest.load_catalog_history(shop, "2017-03-01", "2017-03-07", echo=lambda line: None)
    expected, items = history(shop), rows(shop.shop_dsn, "SELECT item_id, price, deleted FROM core.items ORDER BY 1")
    assert ("c", "2017-03-05", "2017-03-07", 1.0, True) in expected and items == [("a", 1.0, False), ("b", 1.0, False), ("c", 7.0, False), ("d", 1.0, False)]
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE core.items, core.item_history, ops.loads CASCADE")
    for day in ("2017-03-05", "2017-03-07", "2017-03-03", "2017-03-01", "2017-03-02"):
        ingest.load_catalog(shop, day, echo=lambda line: None)
    assert history(shop) == expected and rows(shop.shop_dsn, "SELECT item_id, price, deleted FROM core.items ORDER BY 1") == items


def test_a_corrected_day_takes_back_what_it_said_before(shop):
    deliver(shop, [product("a")], "2017-03-01", "catalog", "snapshot-000.jsonl.gz")
    deliver(shop, [product("a", price=99.0), product("wrong")], "2017-03-02", "catalog", "delta-000.jsonl.gz")
    deliver(shop, [product("a", price=99.0)], "2017-03-03", "catalog", "delta-000.jsonl.gz")
    ingest.load_catalog_history(shop, "2017-03-01", "2017-03-03", echo=lambda line: None)
    deliver(shop, [product("a", price=9.0)], "2017-03-02", "catalog", "delta-000.jsonl.gz")
    ingest.load_catalog(shop, "2017-03-02", echo=lambda line: None)
    assert history(shop) == [("a", "2017-03-01", "2017-03-02", 1.0, False), ("a", "2017-03-02", "2017-03-03", 9.0, False), ("a", "2017-03-03", None, 99.0, False)]
    assert rows(shop.shop_dsn, "SELECT item_id, price, deleted FROM core.items ORDER BY 1") == [("a", 99.0, False), ("wrong", 1.0, True)]


def test_history_tells_all_that_the_catalogue_said_on_a_day(shop):
    first = product("a", description="soft", currency="EUR", image_url="a.jpg", attributes={"colour": "red"})
    deliver(shop, [first], "2017-03-01", "catalog", "snapshot-000.jsonl.gz")
    deliver(shop, [{**first, "description": "softer", "attributes": {"colour": "blue"}}], "2017-03-03", "catalog", "delta-000.jsonl.gz")
    ingest.load_catalog_history(shop, "2017-03-01", "2017-03-03", echo=lambda line: None)
    found = {day: rows(shop.shop_dsn, "SELECT description, currency, image_url, attributes FROM core.items_on(%s)", day)
             for day in ("2017-03-02", "2017-03-03")}
    assert found == {"2017-03-02": [("soft", "EUR", "a.jpg", {"colour": "red"})], "2017-03-03": [("softer", "EUR", "a.jpg", {"colour": "blue"})]}


def test_a_category_is_a_path_without_empty_steps(shop):
    deliver(shop, [product("a", category="/Home// Sofas /"), product("b", category=" / "), *(product(f"c{number}") for number in range(120))], DAY, "catalog", "snapshot-000.jsonl.gz")
    ingest.load_catalog(shop, DAY)
    assert rows(shop.shop_dsn, "SELECT item_id, category FROM core.items WHERE item_id < 'c'") == [("a", "Home/Sofas")]
    assert rows(shop.shop_dsn, "SELECT reason FROM ops.rejected_rows") == [("category is missing",)]


def test_a_bad_catalogue_leaves_the_old_one(shop):
    deliver(shop, [product("a")], DAY, "catalog", "snapshot-000.jsonl.gz")
    ingest.load_catalog(shop, DAY)
    deliver(shop, [product("a", price="free")], NEXT, "catalog", "snapshot-000.jsonl.gz")
    with pytest.raises(ValidationFailed, match="price is not a number"):
        ingest.load_catalog(shop, NEXT)
    assert history(shop) == [("a", DAY, None, 1.0, False)]
    assert rows(shop.shop_dsn, "SELECT day::text, state, rows_rejected, reason LIKE '%%price is not a number%%' FROM analytics.loads WHERE kind = 'catalog' ORDER BY 1") == [
        (DAY, "loaded", 0, None), (NEXT, "refused", 1, True)]
    assert rows(shop.shop_dsn, "SELECT file, line FROM ops.rejected_rows") == [(f"raw/catalog/dt={NEXT}/snapshot-000.jsonl.gz", 1)]


def test_a_delta_beside_a_snapshot_is_newer_and_then_the_newest_row_stays(shop):
    deliver(shop, [product("a"), product("b"), product("c"), product("d", updated_at=None)], DAY, "catalog", "snapshot-000.jsonl.gz")
    deliver(shop, [product("a", price=2.0, updated_at=None), product("b", price=3.0, updated_at=f"{DAY}T09:00:00Z"), product("b", price=2.0, updated_at=f"{DAY}T08:00:00Z"),
                   product("c", price=2.0), product("c", price=3.0), product("e", price=2.0), product("e", price=3.0, updated_at=None)], DAY, "catalog", "delta-000.jsonl.gz")
    done = ingest.load_catalog(shop, DAY)
    assert (done["rows_loaded"], done["rows_duplicate"]) == (5, 6)
    assert rows(shop.shop_dsn, "SELECT item_id, price FROM core.items ORDER BY 1") == [("a", 2.0), ("b", 3.0), ("c", 3.0), ("d", 1.0), ("e", 2.0)]


def test_a_snapshot_that_the_mapping_leaves_out_as_a_whole_deletes_nothing_and_a_delta_may_be_empty(shop, tmp_path):
    mapping = tmp_path / "shop.toml"
    mapping.write_text('[[catalog.drop]]\nwhen = {title = "^Thing"}\nreason = "not sold here"\n')
    deliver(shop, [product("a"), product("b")], DAY, "catalog", "snapshot-000.jsonl.gz")
    ingest.load_catalog(shop, DAY)
    strict = shop.model_copy(update={"mapping": str(mapping)})
    deliver(shop, [product("a"), product("b")], NEXT, "catalog", "snapshot-000.jsonl.gz")
    with pytest.raises(InputError, match=f"the snapshot of {NEXT} has no product: of its 2 rows the mapping leaves out 2") as raised:
        ingest.load_catalog(strict, NEXT, accept_anyway="the checks are too strict")
    assert str(mapping) in raised.value.remedy
    assert history(shop) == [("a", DAY, None, 1.0, False), ("b", DAY, None, 1.0, False)]
    assert rows(shop.shop_dsn, "SELECT day::text, state FROM ops.loads WHERE kind = 'catalog' ORDER BY 1") == [(DAY, "loaded"), (NEXT, "refused")]
    deliver(shop, [product("a", price=2.0)], "2017-03-03", "catalog", "delta-000.jsonl.gz")
    assert ingest.load_catalog(strict, "2017-03-03")["rows_dropped"] == 1
    assert history(shop) == [("a", DAY, None, 1.0, False), ("b", DAY, None, 1.0, False)]


def test_a_deletion_needs_no_title(shop):
    deliver(shop, [product("a"), product("b")], DAY, "catalog", "snapshot-000.jsonl.gz")
    deliver(shop, [{"item_id": "a", "deleted": True}], NEXT, "catalog", "delta-000.jsonl.gz")
    ingest.load_catalog_history(shop, DAY, NEXT, echo=lambda line: None)
    assert rows(shop.shop_dsn, "SELECT title, deleted FROM core.items WHERE item_id = 'a'") == [("Thing a", True)]


def test_a_deletion_keeps_the_last_title_and_the_last_category_each_by_itself(shop):
    deliver(shop, [product("a", category="Home"), product("b", category="Home"), product("c")], DAY, "catalog", "snapshot-000.jsonl.gz")
    deliver(shop, [{"item_id": "a", "title": "Milk", "deleted": True}, {"item_id": "b", "category": "Garden", "deleted": True},
                   {"item_id": "new", "title": "Unknown", "deleted": True}], NEXT, "catalog", "delta-000.jsonl.gz")
    ingest.load_catalog_history(shop, DAY, NEXT, echo=lambda line: None)
    expected = [("a", "Milk", "Home"), ("b", "Thing b", "Garden"), ("new", "Unknown", "")]
    assert rows(shop.shop_dsn, "SELECT item_id, title, category FROM core.items WHERE deleted ORDER BY 1") == expected
    assert rows(shop.shop_dsn, "SELECT item_id, title, category FROM core.item_history WHERE deleted ORDER BY 1") == expected
