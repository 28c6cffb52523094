"""What a load does when one row is poison, or when Postgres goes away under it."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy

from ecomrec import database, ingest, validation
from ecomrec.errors import DatabaseDown, EcomrecError, InputError, ValidationFailed
from ecomrec.ingest import poison
from ecomrec.runtime.postgres import SYSTEM_USER
from tests.badfiles import BAD_FILES, as_parquet, give
from tests.shopdata import rows
from tests.test_ingest import DAY, deliver, event, live

LETTERS = str.maketrans("0123456789", "ghijklmnop")  # digits may be somebody's telephone, and are looked at one by one
POISON = {
    "a NUL in a query": (event(900, query="a\x00b"), "holds a NUL character"),
    "a NUL in the context": (event(900, context={"store": "a\x00b"}), "holds a NUL character"),
    "a NUL byte": (json.dumps(event(900)).replace("u4", "u\x004"), "not a JSON object"),
    "a price that is no number": (event(900, price="nan"), "price is not a number"),
    "a price without end": (event(900, price="inf"), "price is not a number"),
    "half a surrogate pair": (json.dumps(event(900, session_id="HALF")).replace("HALF", "a\\ud800"), "not a JSON object"),
    "a blank line": ("", "not a JSON object"),
    "NaN in the context": (event(900, context={"ratio": float("nan")}), "context holds NaN or Infinity"),
    "Infinity in an unknown field": (event(900, ratio=float("-inf")), "context holds NaN or Infinity"),
    "a number beyond what Postgres has": (json.dumps(event(900, ratio="BEYOND")).replace('"BEYOND"', "1e200000"), "Postgres does not take it"),
}


@pytest.mark.parametrize("name", POISON)
def test_one_poisonous_row_is_set_aside_and_the_day_is_loaded(shop, name):
    record, reason = POISON[name]
    deliver(shop, [event(n) for n in range(200)] + [record] + [event(n) for n in range(200, 300)])
    done = ingest.load_events(shop, DAY)
    assert (done["rows_loaded"], done["rows_rejected"]) == (300, 1)
    found = rows(shop.shop_dsn, "SELECT line, reason FROM ops.rejected_rows")
    assert [line for line, _ in found] == [201] and found[0][1].startswith(reason)


def test_what_is_called_nan_in_a_text_and_a_number_beyond_floats_stay(shop):
    given = {"note": 'say "NaN", [Infinity]', "info: inf": "+49 151 12345678", "large": "LARGE"}
    deliver(shop, [json.dumps(event(1, event_type="search", query="NaN", context=given)).replace('"LARGE"', "1e400")])
    assert ingest.load_events(shop, DAY)["rows_loaded"] == 1
    assert rows(shop.shop_dsn, "SELECT query, context ->> 'note', context ->> 'info: inf', (context ->> 'large')::numeric = 1e400 FROM core.events") == [
        ("NaN", 'say "NaN", [Infinity]', "<phone>", True)]


def test_nan_is_set_aside_in_the_catalogue_and_in_parquet_too(shop):
    products = [{"item_id": f"i{n}", "title": f"NaN bread {n}", "category": "Bread", "weight": 1.5} for n in range(300)]
    folder = Path(shop.store.removeprefix("file://"), "raw", "catalog", f"dt={DAY}")
    folder.mkdir(parents=True)
    (folder / "snapshot-1.parquet").write_bytes(as_parquet([*products, {**products[0], "item_id": "i900", "weight": float("nan")}]))
    deliver(shop, [{**products[0], "item_id": "i901", "attributes": {"weights": [1, float("inf")]}}], kind="catalog", name="snapshot-2.jsonl.gz")
    done = ingest.load_catalog(shop, DAY)
    assert (done["rows_loaded"], done["rows_rejected"]) == (300, 2)
    assert rows(shop.shop_dsn, "SELECT file, line, reason FROM ops.rejected_rows ORDER BY file") == [
        (f"raw/catalog/dt={DAY}/{name}", line, "attributes holds NaN or Infinity, which JSON does not know") for name, line in (("snapshot-1.parquet", 301), ("snapshot-2.jsonl.gz", 1))]


@pytest.mark.parametrize(("kind", "load"), [("events", ingest.load_events), ("catalog", ingest.load_catalog)])
def test_a_row_that_only_postgres_refuses_is_set_aside_and_too_many_refuse_the_day(shop, monkeypatch, kind, load):
    monkeypatch.setattr(poison, "POISON", 3)
    record, name = event if kind == "events" else lambda n, **more: {"item_id": f"i{n}", "title": "two\nlines", "category": "Bread", **more}, "snapshot-1.jsonl.gz"
    bad = [json.dumps(record(n, ratio="BEYOND")).replace('"BEYOND"', "1e200000") for n in range(900, 904)]
    deliver(shop, [*bad[:3], *(record(n) for n in range(500))], kind=kind, name=name)
    done = load(shop, DAY)
    assert (done["rows_loaded"], done["rows_rejected"]) == (500, 3)
    assert rows(shop.shop_dsn, "SELECT line FROM ops.rejected_rows ORDER BY line") == [(1,), (2,), (3,)]
    deliver(shop, [*bad, *(record(n) for n in range(500))], kind=kind, name=name)
    with pytest.raises(ValidationFailed, match=f"{DAY}: Postgres refused 4 rows .*value overflows numeric format.*{name} line 1"):
        load(shop, DAY)
    assert rows(shop.shop_dsn, "SELECT state, rows_rejected FROM ops.loads ORDER BY load_id") == [("loaded", 3), ("refused", 4)]


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


def test_postgres_that_goes_away_during_the_checks_is_no_fault_of_the_day(shop, monkeypatch):
    deliver(shop, [event(n) for n in range(100)])
    create, seen = sqlalchemy.create_engine, []

    def cut(connection, *_):
        seen.append(1)
        if len(seen) == 1:
            admin = psycopg2.connect(shop.shop_dsn)
            admin.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", (connection.connection.dbapi_connection.info.backend_pid,))
            admin.close()

    def engine(*given, **how):
        made = create(*given, **how)
        sqlalchemy.event.listen(made, "before_cursor_execute", cut)
        return made

    validation.library()
    with monkeypatch.context() as patch:
        patch.setattr(sqlalchemy, "create_engine", engine)
        with pytest.raises(DatabaseDown, match="run the task again"):
            ingest.load_events(shop, DAY)
    assert rows(shop.shop_dsn, "SELECT * FROM ops.loads") == []
    ingest.load_events(shop, DAY)
    assert len(live(shop)) == 100


def test_a_bad_file_is_refused_by_name_and_the_day_stays(shop):
    give(shop)
    ingest.load_events(shop, DAY)
    good = live(shop)
    for name in (name for name, (_, expected) in BAD_FILES.items() if isinstance(expected, str)):
        give(shop, name)
        with pytest.raises((InputError, ValidationFailed), match=BAD_FILES[name][1]):
            ingest.load_events(shop, DAY)
        assert live(shop) == good, name


def test_files_in_every_form_give_the_same_rows_and_bad_lines_are_set_aside(shop):
    give(shop)
    ingest.load_events(shop, DAY)
    good = live(shop)
    for name, expected in ((name, expected) for name, (_, expected) in BAD_FILES.items() if isinstance(expected, tuple)):
        give(shop, name)
        done = ingest.load_events(shop, DAY)
        assert (done["rows_loaded"], done["rows_rejected"]) == expected, name
        assert live(shop) == good, name
        assert rows(shop.shop_dsn, "SELECT count(*) FROM ops.rejected_rows") == [(done["rows_rejected"],)], name


@pytest.fixture
def small_disk():
    """A file system of 24 MB."""
    folder = Path(tempfile.mkdtemp(prefix="ecomrec-small-"))
    folder.chmod(0o755)  # Postgres runs as another user
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=777", "tmpfs", folder], check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own needs the right to mount one")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()


def test_a_full_scratch_disk_is_named_with_its_remedy(shop, small_disk):
    deliver(shop, [event(n) for n in range(100)])
    ingest.load_events(shop, DAY)
    good = live(shop)
    deliver(shop, [event(n, context={"page": os.urandom(300).hex().translate(LETTERS)}) for n in range(200_000)])
    with pytest.raises(EcomrecError, match="no disk space left for a load") as raised:
        ingest.load_events(shop.model_copy(update={"scratch": small_disk}), DAY)
    assert "ECOMREC_SCRATCH" in raised.value.remedy
    assert live(shop) == good and list(small_disk.iterdir()) == []


def test_a_full_database_disk_leaves_the_day_as_it_was(shop, small_disk):
    deliver(shop, [event(n) for n in range(100)])
    ingest.load_events(shop, DAY)
    good = live(shop)
    deliver(shop, [event(n) for n in range(200_000)])
    admin = psycopg2.connect(shop.shop_dsn)
    admin.autocommit = True
    shutil.chown(small_disk, SYSTEM_USER, SYSTEM_USER)  # the test has the right to mount, so it is root, and Postgres is not
    with admin.cursor() as cursor:
        cursor.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        cursor.execute("SELECT current_database()")
        cursor.execute(f"ALTER DATABASE {cursor.fetchone()[0]} SET default_tablespace = small")
    try:
        with pytest.raises(DatabaseDown, match="no disk space left"):
            ingest.load_events(shop, DAY)
    finally:
        with admin.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {admin.info.dbname} RESET default_tablespace")
            cursor.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'staging'::regnamespace")
            left = cursor.fetchone()
            cursor.execute("DROP TABLESPACE small")
        admin.close()
    assert left == (0,) and live(shop) == good
    ingest.load_events(shop, DAY)
    assert len(live(shop)) == 200_000
