"""What a load does when one row is poison, or when Postgres goes away under it."""

import json

import psycopg2
import pytest

from ecomrec import database, ingest
from ecomrec.errors import DatabaseDown
from tests.shopdata import rows
from tests.test_ingest import DAY, deliver, event, live

POISON = {
    "a NUL in a query": (event(900, query="a\x00b"), "holds a NUL character"),
    "a NUL in the context": (event(900, context={"store": "a\x00b"}), "holds a NUL character"),
    "a NUL byte": (json.dumps(event(900)).replace("u4", "u\x004"), "not a JSON object"),
    "a price that is no number": (event(900, price="nan"), "price is not a number"),
    "a price without end": (event(900, price="inf"), "price is not a number"),
    "half a surrogate pair": (json.dumps(event(900, session_id="HALF")).replace("HALF", "a\\ud800"), "not a JSON object"),
    "a blank line": ("", "not a JSON object"),
}


@pytest.mark.parametrize("name", POISON)
def test_one_poisonous_row_is_set_aside_and_the_day_is_loaded(shop, name):
    record, reason = POISON[name]
    deliver(shop, [event(n) for n in range(200)] + [record] + [event(n) for n in range(200, 300)])
    done = ingest.load_events(shop, DAY)
    assert (done["rows_loaded"], done["rows_rejected"]) == (300, 1)
    found = rows(shop.shop_dsn, "SELECT line, reason FROM ops.rejected_rows")
    assert [line for line, _ in found] == [201] and found[0][1].startswith(reason)


def test_a_backslash_before_u0000_is_only_text(shop):
    deliver(shop, [event(1, event_type="search", query="a\\u0000b")])
    ingest.load_events(shop, DAY)
    assert rows(shop.shop_dsn, "SELECT query FROM core.events") == [("a\\u0000b",)]


@pytest.mark.parametrize("step", ["ingest/create_staged_day", "ingest/index_staged_day", "ingest/swap_partition", "ingest/record_file"])
def test_postgres_that_goes_away_half_way_leaves_the_day_as_it_was(shop, monkeypatch, step):
    deliver(shop, [event(n) for n in range(100)])
    ingest.load_events(shop, DAY)
    before, loads = live(shop), rows(shop.shop_dsn, "SELECT load_id FROM ops.loads")
    deliver(shop, [event(n, quantity=9) for n in range(400)])
    execute = database.execute

    def cut(connection, name, /, *arguments, **identifiers):
        if name == step:
            admin = psycopg2.connect(shop.shop_dsn)
            admin.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
            admin.close()
        return execute(connection, name, *arguments, **identifiers)

    with monkeypatch.context() as patch:
        patch.setattr(database, "execute", cut)
        with pytest.raises(DatabaseDown, match="run the task again"):
            ingest.load_events(shop, DAY)
    assert live(shop) == before and rows(shop.shop_dsn, "SELECT load_id FROM ops.loads") == loads
    ingest.load_events(shop, DAY)
    assert rows(shop.shop_dsn, "SELECT count(*), min(quantity) FROM core.events") == [(400, 9.0)]
    assert rows(shop.shop_dsn, "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace") == []
