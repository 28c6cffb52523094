"""A shop's own names, in one TOML file: what each row becomes, and every row of a dirty data set accounted for."""

import json
import shutil

import duckdb
import pytest
from typer.testing import CliRunner

from ecomrec import ingest
from ecomrec.cli import app
from ecomrec.errors import InputError, SettingsError
from ecomrec.ingest.mapping import read
from ecomrec.settings import ROOT
from tests.shopdata import rows
from tests.test_ingest import DAY, deliver

ONLINE_RETAIL = ROOT / "ecomrec" / "recipes" / "mappings" / "online_retail.toml"
MAPPING = r"""
[events]
time_format = "%d.%m.%Y %H:%M"
time_zone = "Europe/Berlin"
absolute = ["quantity"]
ignore = ["secret"]
[events.fields]
event_id = ["order", "line"]
event_time = "when"
user_id = "customer.id"
event_type = "what"
item_id = "sku"
quantity = "pieces"
[events.names]
bought = "purchase"
looked_at = "click"
[events.defaults]
session_id = "none"
[[events.set]]
when = { order = "^R" }
set = { event_type = "remove" }
[[events.drop]]
when = { sku = "^(SHIPPING|FEE)$" }
reason = "no product"
"""


def theirs(line: int, **changes) -> dict:
    return {"order": "A1", "line": line, "when": "01.03.2017 11:30", "customer": {"id": 7, "city": "Köln"}, "what": "bought", "sku": f"s{line}", "pieces": -2,
            "secret": "x", "shop": "north", **changes}


@pytest.fixture
def mapped(shop, tmp_path):
    (tmp_path / "mapping.toml").write_text(MAPPING, encoding="utf-8")
    return shop.model_copy(update={"mapping": str(tmp_path / "mapping.toml"), "user_key": None, "user_ids": "pseudonyms"})


def test_a_row_in_the_shops_names_becomes_an_event(mapped):
    deliver(mapped, [theirs(1), theirs(2, order="R9"), theirs(3, sku="FEE"), theirs(4, what="looked_at"), theirs(1)])
    done = ingest.load_events(mapped, DAY)
    assert [done[f"rows_{what}"] for what in ("read", "loaded", "dropped", "duplicate", "rejected")] == [5, 3, 1, 1, 0]
    found = rows(mapped.shop_dsn, "SELECT event_id, event_time::text, event_type, item_id, session_id, quantity, context FROM core.events ORDER BY event_id")
    context = {"customer": {"city": "Köln"}, "shop": "north"}
    assert found == [("A1/1", "2017-03-01 10:30:00+00", "purchase", "s1", "none", 2.0, context), ("A1/4", "2017-03-01 10:30:00+00", "click", "s4", "none", 2.0, context),
                     ("R9/2", "2017-03-01 10:30:00+00", "remove", "s2", "none", 2.0, context)]
    assert rows(mapped.shop_dsn, "SELECT reasons, actor <> '' FROM ops.loads") == [({"no product": 1}, True)]


def test_a_mapping_may_lie_in_the_store(mapped, tmp_path):
    from ecomrec.store import open_store

    open_store(mapped).put(tmp_path / "mapping.toml", "config/mapping.toml")
    deliver(mapped, [theirs(1)])
    assert ingest.load_events(mapped.model_copy(update={"mapping": "config/mapping.toml"}), DAY)["rows_loaded"] == 1
    with pytest.raises(SettingsError, match=r"ECOMREC_MAPPING names 'nowhere\.toml'"):
        ingest.load_events(mapped.model_copy(update={"mapping": "nowhere.toml"}), DAY)


@pytest.mark.parametrize(("text", "message"), [
    ("[event]", r"\[event\] is not a kind of rows"),
    ("[events]\nfield = 1", "unknown key 'field'"),
    ("[events.fields]\nuser = 'u'", "names 'user', which is no field"),
    ("[events]\ntime_zone = 'Mars/North'", "time_zone 'Mars/North' is not a zone"),
    ("[[events.drop]]\nwhen = {a = '('}\nreason = 'x'", "is not a regular expression"),
    ("[[events.drop]]\nwhen = {a = 'x'}", "must have `when` and `reason`"),
    ("[events]\nabsolute = ['user_id']", "which is no number"),
    ("[events.fields]\nuser_id = 'a'\nitem_id = 'a.b'", "a field within it"),
    ("[events", "is not TOML"),
])
def test_what_is_wrong_in_a_mapping_is_named(text, message):
    with pytest.raises(InputError, match=message):
        read(text, "events", "mapping.toml")


@pytest.mark.parametrize(("form", "zone", "given"), [("unix", "UTC", 1488364200), ("unix_ms", "UTC", "1488364200000"), ("", "Europe/Berlin", "2017-03-01 11:30:00"),
                                                     ("", "Europe/Berlin", "2017-03-01T10:30:00Z"), ("%Y%m%d %H%M %z", "UTC", "20170301 1130 +0100")])
def test_every_way_to_write_a_time(mapped, tmp_path, form, zone, given):
    (tmp_path / "mapping.toml").write_text(f"[events]\ntime_format = '{form}'\ntime_zone = '{zone}'\n")
    deliver(mapped, [{"event_id": "e", "event_time": given, "user_id": "u", "event_type": "click", "item_id": "i"}])
    ingest.load_events(mapped, DAY)
    assert rows(mapped.shop_dsn, "SELECT event_time::text FROM core.events") == [("2017-03-01 10:30:00+00",)]


@pytest.mark.parametrize(("form", "given", "other"), [("unix", 1488364200, (1488364200000000, 1488364200000, 10 ** 30)), ("unix_ms", 1488364200000, (1488364200, 1488364200000000, 10 ** 18))])
def test_one_time_in_another_unit_is_set_aside_with_its_own_words(mapped, tmp_path, form, given, other):
    (tmp_path / "mapping.toml").write_text(f"[events]\ntime_format = '{form}'\n")
    row = {"event_id": "e", "event_time": given, "user_id": "u", "event_type": "click", "item_id": "i"}
    deliver(mapped, [*({**row, "event_id": f"e{n}"} for n in range(400)), *({**row, "event_time": time} for time in other)])
    done = ingest.load_events(mapped, DAY)
    assert (done["rows_loaded"], done["rows_rejected"]) == (400, 3)
    reasons = [reason for (reason,) in rows(mapped.shop_dsn, "SELECT reason FROM ops.rejected_rows ORDER BY line")]
    assert all(reason.startswith(("event_time is not of this day: ", "event_time is not a time: ")) for reason in reasons), reasons
    assert reasons[-1] == f"event_time is not a time: {other[-1]}"


def test_check_mapping_shows_what_each_row_becomes(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "m.toml").write_text(MAPPING, encoding="utf-8")
    (tmp_path / "sample.jsonl").write_text("\n".join(map(json.dumps, [theirs(1), theirs(2, sku="FEE"), theirs(3, what="danced"), theirs(1)])))
    done = CliRunner().invoke(app, ["check-mapping", str(tmp_path / "m.toml"), str(tmp_path / "sample.jsonl")])
    assert done.exit_code == 0, done.output
    for said in ("A1/1", "dropped: no product", "refused: unknown event_type danced", "twice", "all 4 rows"):
        assert said in done.output, done.output


def test_rejects_are_loaded_again_after_the_mapping_is_mended(mapped, tmp_path, monkeypatch):
    from ecomrec.runtime import overrides

    monkeypatch.setenv("COLUMNS", "300")
    patient = mapped.model_copy(update={"max_rejected_share": 0.5})
    deliver(patient, [theirs(n) for n in range(5)] + [theirs(6, what="kauf"), theirs(7, what="kauf")])
    assert ingest.load_events(patient, DAY)["rows_rejected"] == 2
    (tmp_path / "mapping.toml").write_text(MAPPING.replace('bought = "purchase"', 'bought = "purchase"\nkauf = "purchase"'), encoding="utf-8")
    for name, value in overrides(patient).items():
        monkeypatch.setenv(name, value)
    shown = CliRunner().invoke(app, ["rejects", "--rows", "5"])
    assert "unknown event_type kauf" in shown.output and shown.exit_code == 0, shown.output
    done = CliRunner().invoke(app, ["rejects", "--redrive"])
    assert f"{DAY}: 2 of 2 rows are accepted now" in done.output, done.output
    assert rows(patient.shop_dsn, "SELECT count(*) FROM core.events") == [(7,)]


def test_the_dirt_of_online_retail_is_mapped_by_toml_alone(mapped, shared_data):
    """A week of it as raw Parquet files: read = loaded + dropped + duplicates, each by its reason, and the same as counted by hand."""
    source, days = shared_data / "online-retail" / "transactions.parquet", ["2010-03-01", "2010-03-02", "2010-03-03"]
    settings = mapped.model_copy(update={"mapping": str(ONLINE_RETAIL)})
    for day in days:
        for kind in ("events", "catalog"):
            folder = ROOT.joinpath(settings.store.removeprefix("file://"), "raw", kind, f"dt={day}")
            folder.mkdir(parents=True)
            duckdb.sql(f"COPY (SELECT * FROM '{source}' WHERE InvoiceDate::DATE = '{day}') TO '{folder}/delta-lines.parquet'")
    assert ingest.load_catalog_history(settings, days[0], days[-1], echo=lambda line: None)["rows_loaded"] > 1000
    done = ingest.load_history(settings, days[0], days[-1], echo=lambda line: None)
    expected = duckdb.sql(f"""SELECT count(*), count(*) FILTER (CustomerID IS NULL), count(*) FILTER (CustomerID IS NOT NULL AND InvoiceNo LIKE 'C%')
                              FROM '{source}' WHERE InvoiceDate::DATE BETWEEN '{days[0]}' AND '{days[-1]}'""").fetchall()[0]
    assert done["rows_read"] == expected[0] == done["rows_loaded"] + done["rows_dropped"] + done["rows_duplicate"] + done["rows_rejected"]
    assert done["rows_rejected"] == 0 and done["rows_duplicate"] > 0
    assert rows(settings.shop_dsn, "SELECT sum((reasons ->> 'no customer')::int) FROM ops.loads WHERE kind = 'events'") == [(expected[1],)]
    assert rows(settings.shop_dsn, "SELECT bool_and(rows_dropped = (SELECT sum(n::int) FROM jsonb_each_text(reasons) AS t (why, n))) FROM ops.loads WHERE kind = 'events'") == [(True,)]
    assert 0 < rows(settings.shop_dsn, "SELECT count(*) FROM core.events WHERE event_type = 'remove'")[0][0] <= expected[2]
    assert rows(settings.shop_dsn, "SELECT min(quantity) > 0, min(price) > 0 FROM core.events") == [(True, True)]
    shutil.rmtree(settings.store.removeprefix("file://"))
