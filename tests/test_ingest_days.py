"""Days beside one another: late files, events that two folders bring, fields that change from one day to the next."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import pytest

from ecomrec import ingest
from ecomrec.errors import ValidationFailed
from ecomrec.ingest import events, manifest, schema
from tests.shopdata import rows
from tests.test_ingest import DAY, NEXT, deliver, event, live

BEFORE = "2017-02-28"


def test_a_late_file_makes_its_day_stale_and_the_next_load_takes_it_in(shop):
    deliver(shop, [event(n) for n in range(50)])
    ingest.load_events(shop, DAY)
    assert manifest.stale(shop, "events") == {}
    deliver(shop, [event(n) for n in range(40, 90)], name="part-001.jsonl.gz")
    assert manifest.stale(shop, "events") == {DAY: "late part-001.jsonl.gz"}
    done = ingest.load_events(shop, DAY)
    assert (done["rows_loaded"], done["rows_duplicate"]) == (90, 10) and manifest.stale(shop, "events") == {}
    deliver(shop, [event(n, quantity=3) for n in range(50)])
    assert manifest.stale(shop, "events") == {DAY: "changed part-000.jsonl.gz"}
    assert rows(shop.shop_dsn, "SELECT count(DISTINCT sha256), sum(f.rows_read)::integer FROM ops.load_files f JOIN ops.loads l USING (load_id) "
                "WHERE load_id = (SELECT max(load_id) FROM ops.loads)") == [(2, 100)]


@pytest.mark.parametrize("order", itertools.permutations((BEFORE, DAY, NEXT)))
def test_an_event_that_two_folders_bring_is_counted_once_in_its_own_day(shop, order):
    """As a shop delivers whose days are local: each folder begins with the end of the UTC day before."""
    late = {day: [event(n, day, event_id=f"{day}-{n}", event_time=f"{day}T23:30:00Z") for n in range(5)] for day in (BEFORE, DAY)}
    noon = {day: [event(n, day, event_id=f"{day}-noon-{n}") for n in range(10)] for day in (BEFORE, DAY, NEXT)}
    deliver(shop, noon[BEFORE] + late[BEFORE], BEFORE)
    deliver(shop, late[BEFORE] + noon[DAY] + late[DAY], DAY)
    deliver(shop, late[DAY] + noon[NEXT], NEXT)
    for day in order:
        ingest.load_events(shop, day)
    assert rows(shop.shop_dsn, "SELECT event_day::text, count(*), count(DISTINCT event_id) FROM core.events GROUP BY 1 ORDER BY 1") == [
        (BEFORE, 15, 15), (DAY, 15, 15), (NEXT, 10, 10)]
    assert rows(shop.shop_dsn, "SELECT event_day::text, sum(purchases)::integer FROM core.item_daily GROUP BY 1 ORDER BY 1") == [(BEFORE, 15), (DAY, 15), (NEXT, 10)]
    before = live(shop)
    for day in order:
        ingest.load_events(shop, day)
    assert live(shop) == before


@pytest.mark.parametrize("days", [(DAY, "2017-03-11"), (DAY, NEXT), (DAY, DAY)])
def test_two_loads_at_once_take_turns_at_the_end(shop, monkeypatch, days):
    swap, both = events._swap, Barrier(2)
    for day in days:
        deliver(shop, [event(n, day) for n in range(50)], day)
        ingest.load_events(shop, day)
        deliver(shop, [event(n, day, quantity=3) for n in range(60)], day)

    def together(*given):
        with suppress(BrokenBarrierError):
            both.wait(5)
        swap(*given)

    monkeypatch.setattr(events, "_swap", together)
    with ThreadPoolExecutor(2) as pool:
        assert [done["rows_loaded"] for done in pool.map(lambda day: ingest.load_events(shop, day), days)] == [60, 60]
    assert rows(shop.shop_dsn, "SELECT event_day::text, count(*), min(quantity) FROM core.events GROUP BY 1 ORDER BY 1") == [(day, 60, 3.0) for day in sorted(set(days))]


def test_a_day_without_a_needed_field_is_refused_by_name_before_anything_is_loaded(shop):
    deliver(shop, [event(n) for n in range(50)])
    ingest.load_events(shop, DAY)
    deliver(shop, [{name: value for name, value in event(n, NEXT).items() if name != "user_id"} for n in range(50)], NEXT)
    with pytest.raises(ValidationFailed, match="field user_id is missing"):
        ingest.load_events(shop, NEXT)
    assert rows(shop.shop_dsn, "SELECT count(*) FROM core.events WHERE event_day = %s", NEXT) == [(0,)]


def test_new_and_retyped_fields_are_told_and_let_in_with_a_reason_when_needed(shop):
    deliver(shop, [event(n) for n in range(50)])
    ingest.load_events(shop, DAY)
    deliver(shop, [event(n, NEXT, user_id=1000 + n, app="ios") for n in range(50)], NEXT)
    with pytest.raises(ValidationFailed, match="field user_id was text and is number"):
        ingest.load_events(shop, NEXT)
    done = ingest.load_events(shop, NEXT, accept_anyway="ids are numbers from now on")
    assert done["rows_loaded"] == 50 and f"{NEXT}: new field app (text)" in done["changes"]
    assert rows(shop.shop_dsn, "SELECT detail ->> 'reason' FROM ops.audit_log WHERE action = 'accept_anyway'") == [("ids are numbers from now on",)]


def test_null_and_missing_are_the_same_and_rare_fields_come_and_go_in_silence():
    was = schema.describe([(json.dumps({"a": "VARCHAR", "b": "NULL"}), True, 995), (json.dumps({"a": "VARCHAR", "rare": "BIGINT"}), True, 5)])
    now = schema.describe([(json.dumps({"a": "VARCHAR"}), True, 1000)])
    assert was["rare"]["share"] == 0.005 and "b" not in was
    from ecomrec.contract import EVENTS
    from ecomrec.ingest.mapping import Mapping

    assert schema.compare(EVENTS, Mapping("events"), was, now) == schema.Changes()
