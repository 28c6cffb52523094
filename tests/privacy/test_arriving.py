"""Raw ids and personal data never reach Postgres, whatever the shop's rows look like; who was erased stays away."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from ecomrec import ingest
from ecomrec.errors import SettingsError, ValidationFailed
from ecomrec.privacy import erasure, pseudonyms, tables, tombstones
from ecomrec.privacy.arriving import outline, refusal
from ecomrec.privacy.pseudonyms import Pseudonyms
from ecomrec.privacy.traces import UserField
from tests.shopdata import rows
from tests.test_ingest import DAY, NEXT, deliver, event

ANNA = "customer-0042"


def quiet(line: str) -> None:
    pass


def shop_day(day: str) -> list:
    """Anna and 29 others, with her id and personal data in every place where a shop may put it, good rows and bad ones."""
    good = [event(n, day, user_id=f"customer-{n % 30:04}") for n in range(300)]
    hers = [event(1000, day, user_id=ANNA, event_id=f"{day}-{ANNA}-1", session_id=f"{ANNA}/7", event_type="search", query="gift for ann@example.com", item_id=None,
                  context={"phone": "+49 151 12345678", "again": ANNA, "deep": [{"uid": ANNA}], "store": "5"}, mail="ann@example.com"),
            event(1001, day, user_id=ANNA)]
    bad = [event(1002, day, user_id=ANNA, event_type="teleport", note=f"{ANNA} 4111 1111 1111 1111"), '{"user_id": "' + ANNA + '", "query": "ann@exa']
    return [*good, *hers, *bad]


def text_of(settings) -> str:
    """Every row of every table of the database as one text."""
    return "\n".join(str(rows(settings.shop_dsn, f"SELECT r::text FROM {table['name']} r")) for table in tables._tables(settings.shop_dsn))


def test_no_raw_id_and_no_personal_data_reaches_postgres(shop):
    deliver(shop, shop_day(DAY))
    done = ingest.load_events(shop.model_copy(update={"max_rejected_share": 0.1}), DAY)
    assert (done["rows_loaded"], done["rows_rejected"]) == (302, 2)
    said = text_of(shop)
    assert not [word for word in (ANNA, "customer-", "ann@", "15112345678", "151 12345678", "4111") if word in said]
    mine = pseudonyms.of(shop).of(ANNA)
    [(event_id, session, query, context)] = rows(shop.shop_dsn, "SELECT event_id, session_id, query, context FROM core.events WHERE user_id = %s AND event_type = 'search'", mine)
    assert (event_id, session, query) == (f"{DAY}-{mine}-1", f"{mine}/7", "gift for <email>")
    assert context == {"phone": "<phone>", "again": mine, "deep": [{"uid": mine}], "store": "5", "mail": "<email>"}
    refused = dict(rows(shop.shop_dsn, "SELECT reason, payload FROM ops.rejected_rows"))
    kept = json.loads(refused["unknown event_type teleport"])
    assert kept["user_id"] == mine and kept["note"] == f"{mine} <card>"
    assert rows(shop.shop_dsn, "SELECT count(DISTINCT user_id) FROM core.events") == [(31,)]


def test_a_shops_own_field_names_are_followed(shop, tmp_path):
    mapping = tmp_path / "shop.toml"
    mapping.write_text('[events.fields]\nuser_id = ["tenant", "who.id"]\n')
    shop = shop.model_copy(update={"mapping": str(mapping), "max_rejected_share": 0.1})
    records = []
    for n in range(50):
        record = event(n)
        del record["user_id"]
        records.append({**record, "tenant": "berlin", "who": {"id": f"c-{n % 5}"}, "event_type": "dance" if n == 7 else "purchase"})
    deliver(shop, records)
    ingest.load_events(shop, DAY)
    keys = pseudonyms.of(shop)
    assert {user for (user,) in rows(shop.shop_dsn, "SELECT DISTINCT user_id FROM core.events")} == {keys.of(f"berlin/c-{n}") for n in range(5)}
    assert json.loads(rows(shop.shop_dsn, "SELECT payload FROM ops.rejected_rows")[0][0])["who"] == {"id": keys.of("berlin/c-2")}
    erasure.erase(shop, [keys.of("berlin/c-3")], "", "test", quiet)
    assert erasure.learn_raw_ids(shop, erasure.identify(shop, [keys.of("berlin/c-3")]), quiet).words == [], "not in the logs any more"
    assert erasure.learn_raw_ids(shop, erasure.identify(shop, [keys.of("berlin/c-2")]), quiet).words == ["berlin/c-2"]


def test_who_was_erased_stays_away_from_reloads_and_late_files(shop):
    shop = shop.model_copy(update={"max_rejected_share": 0.1})
    for day in (DAY, NEXT):
        deliver(shop, shop_day(day), day)
        ingest.load_events(shop, day)
    mine = pseudonyms.of(shop).of(ANNA)
    assert rows(shop.shop_dsn, "SELECT count(*) FROM core.events WHERE user_id = %s", mine) == [(4,)]
    assert erasure.erase(shop, [ANNA], "", "test", quiet)["left"] == {}
    others = rows(shop.shop_dsn, "SELECT * FROM core.events ORDER BY event_day, event_id")
    assert len(others) == 600
    ingest.load_history(shop, DAY, NEXT, echo=quiet)
    assert rows(shop.shop_dsn, "SELECT * FROM core.events ORDER BY event_day, event_id") == others
    deliver(shop, [event(2000, user_id=ANNA), event(2001, user_id=ANNA, event_type="dance")], name="late.jsonl.gz")
    done = ingest.load_events(shop, DAY)
    assert (done["rows_loaded"], done["rows_dropped"], done["rows_rejected"]) == (300, 2, 0)
    assert not any(tables.find(shop.shop_dsn, erasure.identify(shop, [ANNA])).values())


def test_somebody_erased_in_the_middle_of_a_load_does_not_come_back(shop, monkeypatch):
    """The tombstone is set after the rows were parsed and staged, just before the day goes live."""
    from ecomrec import validation

    deliver(shop, shop_day(DAY))
    real = validation.validate

    def erased_meanwhile(*arguments, **named):
        tombstones.bury(shop, [pseudonyms.of(shop).of(ANNA)])
        return real(*arguments, **named)

    monkeypatch.setattr(validation, "validate", erased_meanwhile)
    done = ingest.load_events(shop.model_copy(update={"max_rejected_share": 0.1}), DAY)
    assert rows(shop.shop_dsn, "SELECT count(*) FROM core.events WHERE user_id = %s", pseudonyms.of(shop).of(ANNA)) == [(0,)]
    assert rows(shop.shop_dsn, "SELECT count(*) FROM core.events") == [(300,)] and done["rows_dropped"] == 2


def test_a_load_with_another_key_is_refused_before_anything_is_read(shop):
    deliver(shop, shop_day(DAY))
    pseudonyms.checked(shop)
    with pytest.raises(SettingsError, match="another key"):
        ingest.load_events(shop.model_copy(update={"user_key": SecretStr("x" * 40)}), DAY)
    with pytest.raises(SettingsError, match="is not set"):
        ingest.load_events(shop.model_copy(update={"user_key": None}), DAY)


def test_a_shop_whose_ids_are_pseudonyms_keeps_them(shop):
    shop = shop.model_copy(update={"user_key": None, "user_ids": "pseudonyms"})
    deliver(shop, [event(n, query="to ann@example.com") for n in range(20)])
    ingest.load_events(shop, DAY)
    assert rows(shop.shop_dsn, "SELECT min(user_id), min(query) FROM core.events") == [("u0", "to <email>")]
    assert erasure.erase(shop, ["u0"], "", "test", quiet)["left"] == {}
    ingest.load_events(shop, DAY)
    assert rows(shop.shop_dsn, "SELECT min(user_id) FROM core.events") == [("u1",)]


@pytest.mark.parametrize("payload, kept", [
    ("{not json, user 4711", "{aaa aaaa, aaaa 9999"),
    ("[1, 2]", "[9, 9]"),
    ('{"user_id": null, "q": "Tea 5"}', '{"user_id":null,"q":"aaa 9"}'),
    ('{"user_id": "7", "q": "Tea 5"}', f'{{"user_id":"{Pseudonyms((b"k" * 40,)).of("7")}","q":"Tea 5"}}'),
    ('{"event_id": "1", "event_type": "click", "event_time": "2017-03-01T10:00:00Z", "item_id": "i77", "price": 1.5, "customer_id": "cust-778812"}',
     '{"event_id":"1","event_type":"click","event_time":"2017-03-01T10:00:00Z","item_id":"i77","price":1.5,"customer_id":"aaaa-999999"}'),
    ('{"event_id": "d-778812-1", "session_id": "s7", "query": "tea", "new": true, "who": {"id": 778812, "of": ["778812", 5, null]}, "item_id": {"id": "x1"}}',
     '{"event_id":"d-999999-1","session_id":"a9","query":"aaa","new":true,"who":{"id":"999999","of":["999999","9",null]},"item_id":{"id":"a9"}}'),
    ('{"context": ' + '[' * 700 + ']' * 700 + '}', '{"aaaaaaa": ' + '[' * 700 + ']' * 700 + '}'),
])
def test_what_is_kept_of_a_refused_row(payload, kept):
    keys = Pseudonyms((b"k" * 40,))
    assert refusal(payload, keys, UserField()) == kept
    assert outline("Zürich 12") == "aaaaaa 99"


def test_a_user_field_that_nobody_has_mapped_is_not_kept(shop, tmp_path):
    """Before there is a mapping, and when the shop renames the field."""
    mapping = tmp_path / "shop.toml"
    mapping.write_text('[events.fields]\nuser_id = "uid"\nevent_time = "at.utc"\nevent_id = ["cust.id", "n"]\n')
    records = [event(n) for n in range(20)]
    renamed = [{**{name: value for name, value in event(n).items() if name not in ("user_id", "event_time")}, "n": n, "at": {"utc": f"{DAY}T10:00:00Z", "by": "Anna B"},
                "cust": {"id": f"cust-{778812 + n}"}} for n in range(20, 23)]
    deliver(shop, [*records, *renamed])
    ingest.load_events(shop.model_copy(update={"max_rejected_share": 0.5}), DAY)
    kept = [json.loads(payload) for (payload,) in rows(shop.shop_dsn, "SELECT payload FROM ops.rejected_rows")]
    assert len(kept) == 3 and all(row["cust"] == {"id": "aaaa-999999"} for row in kept) and {row["item_id"] for row in kept} == {"i0", "i1", "i2"}
    assert all(row["at"] == {"utc": "9999-99-99a99:99:99a", "by": "aaaa a"} for row in kept), "unknown without the mapping"
    assert "cust-7788" not in text_of(shop)
    with pytest.raises(ValidationFailed):
        ingest.load_events(shop.model_copy(update={"mapping": str(mapping), "max_rejected_share": 0.5}), DAY)
    kept = [json.loads(payload) for (payload,) in rows(shop.shop_dsn, "SELECT payload FROM ops.rejected_rows")]
    assert {row["at"]["utc"] for row in kept if "at" in row} >= {f"{DAY}T10:00:00Z"} and "cust-7788" not in text_of(shop) and "Anna" not in text_of(shop)


def test_a_csv_without_a_header_does_not_make_names_of_fields_of_its_first_event(shop):
    deliver(shop, [event(n) for n in range(20)])
    folder = Path(shop.store.removeprefix("file://"), f"raw/events/dt={DAY}")
    (folder / "b.csv").write_text("".join(f"e{n},{DAY}T10:00:00Z,cust-{778810 + n},purchase,i1\n" for n in range(30, 33)))
    (folder / "c.csv").write_text(f"id,at,customer,\nx1,{DAY}T10:00:00Z,cust-778899,\n")
    ingest.load_events(shop.model_copy(update={"max_rejected_share": 0.5}), DAY)
    assert [json.loads(payload) for (payload,) in rows(shop.shop_dsn, "SELECT payload FROM ops.rejected_rows ORDER BY file, line")] == [
        *[{"column1": "a99", "column2": "9999-99-99a99:99:99a", "column3": "aaaa-999999", "column4": "aaaaaaaa", "column5": "a9"}] * 2,
        {"id": "a9", "at": "9999-99-99a99:99:99a", "customer": "aaaa-999999", "column3": None}]
    [(fields,)] = rows(shop.shop_dsn, "SELECT fields FROM ops.loads")
    assert {"column1", "customer", "user_id"} < set(fields) and "cust-7788" not in text_of(shop)


def test_half_a_character_does_not_cost_the_day():
    keys = Pseudonyms((b"k" * 40,))
    kept = refusal('{"user_id": "\\ud800abcdef", "q": "\\udfff 13912345678"}', keys, UserField())
    assert json.loads(kept) == {"user_id": keys.of("\ud800abcdef"), "q": "\udfff <phone>"} and kept.isascii()
