"""Erasing people: from every table, every file, every later load; the search at the end finds whatever is planted."""

import gzip
import json
import os
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecomrec import artifact
from ecomrec.database import connect
from ecomrec.errors import ErasureIncomplete, InputError
from ecomrec.privacy import erasure, pseudonyms, tables, tombstones, traces
from ecomrec.runtime import overrides
from ecomrec.store import FolderStore
from tests.buckets import bucket, in_s3
from tests.shopdata import fill, purchase, rows

DAYS = ("2017-03-01", "2017-03-02")
ANNA, OTHERS = "customer-0042", tuple(f"customer-{n:04}" for n in range(10))


def quiet(line: str) -> None:
    pass


def raw(user: str, day: str, item: str, **more) -> dict:
    return {"event_id": f"{day}-{user}-{item}", "event_time": f"{day}T10:00:00Z", "user_id": user, "event_type": "purchase", "item_id": item, **more}


@pytest.fixture
def store(shop):
    """The folder of the object store, with a shop's logs in every format, a model, a work folder and a log of the system."""
    folder = shop.store.removeprefix("file://")
    mine = pseudonyms.of(shop).of(ANNA)
    for day in DAYS:
        place = os.path.join(folder, "raw/events", f"dt={day}")
        os.makedirs(place)
        events = [raw(user, day, f"i{n % 3}") for n, user in enumerate((*OTHERS, ANNA, *OTHERS))]
        events.append(raw(OTHERS[0], day, "i9", context={"invited_by": ANNA, "note": "x"}))
        lines = [json.dumps(event) for event in events]
        with gzip.open(f"{place}/a.jsonl.gz", "wt") as stream:
            stream.writelines(line + "\n" for line in [*lines, '{"broken": "' + ANNA])
        with pa.output_stream(f"{place}/b.jsonl.zst", compression="zstd") as stream:
            stream.write(("\n".join(lines) + "\n").encode())
        with open(f"{place}/c.csv", "w") as stream:
            stream.write("event_id,user_id,query\n" + "".join(f'e{n},{user},"two, {n}"\n' for n, user in enumerate((*OTHERS, ANNA))))
        pq.write_table(pa.table({"event_id": ["e1", "e2"], "user_id": [ANNA, OTHERS[1]], "query": ["q", None]}), f"{place}/d.parquet")
        with open(f"{place}/e.jsonl", "w") as stream:
            stream.write("\n".join(json.dumps(raw(user, day, "i1")) for user in OTHERS))
    work = os.path.join(folder, "work/run/recommender")
    os.makedirs(f"{work}/dataset")
    pq.write_table(pa.table({"user_id": [mine, "uBBBBBBBBBBBBBBBBBBBBBB"]}), f"{work}/dataset/users.parquet")
    pq.write_table(pa.table({"user": pa.array([0, 0, 1], pa.int32()), "item": pa.array([0, 1, 2], pa.int32())}), f"{work}/dataset/interactions.parquet")
    model = os.path.join(folder, "models/recommender/r1/artifacts/model")
    os.makedirs(model)
    pq.write_table(pa.table({"unit": [mine, "uBBBBBBBBBBBBBBBBBBBBBB"], "candidate": [0.5, 0.25]}), f"{model}/evaluation.parquet")
    np.savez(f"{model}/users.npz", users=np.array(["uBBBBBBBBBBBBBBBBBBBBBB", mine]), values=np.arange(4))
    with open(f"{model}/weights.safetensors", "wb") as stream:
        stream.write(bytes(range(256)))
    artifact.write_manifest(artifact.Path(model), kind="sequential", day="2017-03-31")
    logs = shop.home / "airflow/logs/dag"
    logs.mkdir(parents=True)
    (logs / "attempt=1.log").write_text(f"shard 3 begins with {mine}\nnothing here\n")
    return folder


@pytest.fixture
def filled(shop, store):
    """The same shop's tables, with Anna in each of them and in other people's rows."""
    of = pseudonyms.checked(shop).of
    mine = of(ANNA)
    fill(shop.shop_dsn, [("i0", "Thing", "A/B", None, True, False)], [purchase(of(user), "i0", day) for user in (*OTHERS, ANNA) for day in DAYS])
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.events SET query = %s, context = %s WHERE user_id = %s", (f"gift for {mine}, thanks", json.dumps({"by": mine, "n": [1, mine]}), of(OTHERS[1])))
        cursor.execute("INSERT INTO ops.publications (run_key, day, state, model_version) VALUES ('r', %s, 'live', 'm'), ('s', %s, 'superseded', 'm')", DAYS)
        for number in (1, 2):
            cursor.execute(f"CREATE TABLE recs.user_recommendations_p{number} PARTITION OF recs.user_recommendations FOR VALUES IN ({number})")
            for user in (mine, of(OTHERS[0])):
                cursor.execute("INSERT INTO recs.user_recommendations VALUES (%s, 0, %s, '{i0}', '{1}', '{popular}', '{\"\"}', 'm')", (number, user))
        cursor.execute("CREATE TABLE recs.user_recommendations_p3 (LIKE recs.user_recommendations INCLUDING DEFAULTS)")  # not attached: being built
        cursor.execute("INSERT INTO recs.user_recommendations_p3 VALUES (3, 0, %s, '{i0}', '{1}', '{popular}', '{\"\"}', 'm')", (mine,))
        cursor.execute("INSERT INTO ops.rejected_rows (kind, day, file, line, reason, payload) VALUES ('events', %s, 'f', 1, 'bad', %s)", (DAYS[0], json.dumps({"user_id": mine})))
        cursor.execute("INSERT INTO ops.audit_log (actor, action, subject, detail) VALUES ('a', 'b', %s, %s)", (mine, json.dumps({mine: [mine]})))
        cursor.execute("CREATE TABLE core.segments (name text, members text[])")
        cursor.execute("INSERT INTO core.segments VALUES ('vip', ARRAY[%s, 'other'])", (mine,))
    return shop


def test_a_person_is_erased_from_everything_and_others_stay(filled, store):
    wanted = erasure.identify(filled, [ANNA])
    assert sum(tables.find(filled.shop_dsn, wanted).values()) >= 10
    report = erasure.erase(filled, [ANNA], "letter 17", "test", quiet)
    assert report["left"] == {} and report["tables_searched"] >= 15 and report["files_searched"] == 17
    assert report["models"] == ["models/recommender/r1/artifacts/model"]
    assert not any(tables.find(filled.shop_dsn, wanted).values())
    assert rows(filled.shop_dsn, "SELECT count(DISTINCT user_id), count(*) FROM core.events") == [(10, 20)]
    assert rows(filled.shop_dsn, "SELECT DISTINCT query, context FROM core.events WHERE query IS NOT NULL") == [
        ("gift for <erased>, thanks", {"by": "<erased>", "n": [1, "<erased>"]})]
    assert rows(filled.shop_dsn, "SELECT members FROM core.segments") == [(["<erased>", "other"],)]
    assert rows(filled.shop_dsn, "SELECT count(*) FROM recs.user_recommendations") == [(2,)]
    assert rows(filled.shop_dsn, "SELECT user_id, proved_at IS NOT NULL FROM ops.erased_users") == [(pseudonyms.of(filled).of(ANNA), True)]
    [(detail,)] = rows(filled.shop_dsn, "SELECT detail FROM ops.audit_log WHERE action = 'erase'")
    assert detail["reason"] == "letter 17" and ANNA not in json.dumps(detail)


def test_files_lose_her_rows_and_nothing_else(filled, store):
    untouched = os.path.join(store, "raw/events/dt=2017-03-01/e.jsonl")
    before = os.stat(untouched).st_mtime_ns
    erasure.erase(filled, [ANNA], "", "test", quiet)
    place = os.path.join(store, "raw/events/dt=2017-03-01")
    with gzip.open(f"{place}/a.jsonl.gz", "rt") as stream:
        lines = [json.loads(line) for line in stream]
    assert len(lines) == 21 and lines[-1]["context"] == {"invited_by": "<erased>", "note": "x"}
    assert lines[0] == raw(OTHERS[0], DAYS[0], "i0")
    with pa.input_stream(f"{place}/b.jsonl.zst", compression="zstd") as stream:
        assert stream.read().count(b"\n") == 21
    with open(f"{place}/c.csv") as stream:
        assert stream.read().splitlines()[1] == 'e0,customer-0000,"two, 0"'
    assert pq.read_table(f"{place}/d.parquet").to_pylist() == [{"event_id": "e2", "user_id": OTHERS[1], "query": None}]
    assert os.stat(untouched).st_mtime_ns == before
    dataset = os.path.join(store, "work/run/recommender/dataset")
    assert pq.read_table(f"{dataset}/users.parquet")["user_id"].to_pylist() == ["<erased>", "uBBBBBBBBBBBBBBBBBBBBBB"]
    assert pq.read_table(f"{dataset}/interactions.parquet")["user"].to_pylist() == [1]
    model = artifact.Path(store) / "models/recommender/r1/artifacts/model"
    artifact.read_manifest(model)  # the checksums are those of the new files
    with np.load(model / "users.npz") as data:
        assert data["users"].tolist() == ["uBBBBBBBBBBBBBBBBBBBBBB", "<erased>"] and data["values"].tolist() == [0, 1, 2, 3]
    assert (filled.home / "airflow/logs/dag/attempt=1.log").read_text() == "shard 3 begins with <erased>\nnothing here\n"


def test_a_pseudonym_is_enough_to_find_the_raw_rows(filled, store):
    report = erasure.erase(filled, [pseudonyms.of(filled).of(ANNA)], "", "test", quiet)
    assert report["left"] == {} and erasure.prove(filled, erasure.identify(filled, [ANNA]), "", "test", {}, quiet)["left"] == {}
    with gzip.open(os.path.join(store, "raw/events/dt=2017-03-02/a.jsonl.gz"), "rt") as stream:
        assert ANNA not in stream.read()


def test_twice_is_once_and_a_killed_erasure_goes_on(filled, store, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(erasure, "erase_files", killed)
    with pytest.raises(KeyboardInterrupt):
        erasure.erase(filled, [ANNA], "", "test", quiet)
    assert rows(filled.shop_dsn, "SELECT count(*) FROM ops.erased_users WHERE proved_at IS NULL") == [(1,)]
    monkeypatch.undo()
    for _ in range(2):
        assert erasure.erase(filled, [ANNA], "", "test", quiet)["left"] == {}
    assert rows(filled.shop_dsn, "SELECT count(*) FROM ops.erased_users WHERE proved_at IS NOT NULL") == [(1,)]


@pytest.mark.parametrize("prefix", ["/shop", "", "/"])
def test_files_in_a_bucket_lose_her_rows_too(filled, store, s3, prefix):
    there = in_s3(s3, f"s3://erasure-{secrets.token_hex(4)}{prefix}")
    objects = bucket(there)
    for part in ("raw", "work", "models"):
        objects.put_folder(artifact.Path(store) / part, part)
    settings = filled.model_copy(update={name: getattr(there, name) for name in ("store_url", "s3_endpoint_url", "s3_region", "s3_access_key_id", "s3_secret_access_key")})
    report = erasure.erase(settings, [ANNA], "", "test", quiet)
    assert report["left"] == {} and report["files_searched"] == 17
    objects.fetch_folder("raw", settings.home / "after")
    place = settings.home / "after/events/dt=2017-03-01"
    assert ANNA.encode() not in gzip.decompress((place / "a.jsonl.gz").read_bytes()) and ANNA.encode() not in (place / "c.csv").read_bytes()
    assert len(gzip.decompress((place / "a.jsonl.gz").read_bytes()).splitlines()) == 21


def test_logs_on_another_disk_lose_her_rows_too(filled, store, tmp_path):
    os.rename(os.path.join(store, "raw"), tmp_path / "disk")
    os.symlink(tmp_path / "disk", os.path.join(store, "raw"))
    os.symlink(store, tmp_path / "disk" / "back")
    report = erasure.erase(filled, [ANNA], "", "test", quiet)
    assert report["left"] == {} and report["files_searched"] == 17
    assert ANNA not in (tmp_path / "disk/events/dt=2017-03-01/c.csv").read_text() and ANNA.encode() not in gzip.decompress((tmp_path / "disk/events/dt=2017-03-01/a.jsonl.gz").read_bytes())


def test_a_store_that_does_not_list_everything_proves_nothing(filled, store, monkeypatch):
    real = FolderStore.objects
    monkeypatch.setattr(FolderStore, "objects", lambda self, prefix: real(self, prefix) if prefix else [])
    with pytest.raises(ErasureIncomplete, match=r"lists 10 files below raw that are not in its list of everything, such as raw/events/dt=2017-03-01/a\.jsonl\.gz"):
        erasure.erase(filled, [ANNA], "", "test", quiet)
    assert rows(filled.shop_dsn, "SELECT count(*) FROM ops.erased_users WHERE proved_at IS NULL") == [(1,)]


@pytest.mark.slow
def test_an_erasure_that_is_killed_at_any_moment_is_ended_by_the_next(filled, store):
    code = f"from ecomrec.privacy import erasure; from ecomrec.settings import Settings; print('ready', flush=True); erasure.erase(Settings(), ['{ANNA}'], '', 'test', print)"
    for seconds in (0.05, 0.15, 0.3, 0.5):
        process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **overrides(filled)}, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        process.wait()
        assert rows(filled.shop_dsn, "SELECT count(DISTINCT user_id) FROM core.events WHERE user_id <> %s", pseudonyms.of(filled).of(ANNA)) == [(10,)]
    assert erasure.erase(filled, [ANNA], "", "test", quiet)["left"] == {}


def test_whatever_is_planted_anywhere_is_found(filled, store):
    """In each text, JSON and array column of each table there is: a new table cannot be forgotten."""
    erasure.erase(filled, [ANNA], "", "test", quiet)
    wanted = erasure.identify(filled, [ANNA])
    mine = pseudonyms.of(filled).of(ANNA)
    found = tables._tables(filled.shop_dsn)
    with connect(filled.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('core', 'recs', 'ops', 'staging')")
        parents = {name for (name,) in cursor.fetchall() if "_p" not in name and "events_2" not in name}
    assert parents - {tables.TOMBSTONES} <= {table["name"] for table in found}
    planted = {}
    with connect(filled.shop_dsn) as connection, connection.cursor() as cursor:
        for table in found:
            copy, columns = f"planted_{len(planted)}", (*table["texts"], *table["jsons"])
            if columns:
                cursor.execute(f"CREATE TABLE {copy} AS SELECT {', '.join(columns)} FROM {table['name']} WITH NO DATA")
                cursor.execute("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", (copy,))
                for column, kind in cursor.fetchall():
                    value = f'{{"a": ["{mine}"]}}' if kind.startswith("json") else f"{{x,{mine}}}" if kind.endswith("[]") else mine if column == "user_id" else f"by {mine}."
                    cursor.execute(f"INSERT INTO {copy} ({column}) VALUES (%s::{kind})", (value,))
                planted[f"public.{copy}"] = len(columns)
    assert sum(planted.values()) > 50
    assert {name: count for name, count in tables.find(filled.shop_dsn, wanted).items() if count} == planted
    tables.erase(filled.shop_dsn, wanted)
    assert not any(tables.find(filled.shop_dsn, wanted).values())


@pytest.mark.parametrize("name", ["raw/events/dt=2017-03-01/z.jsonl", "work/x/notes.txt", "models/m/weights.onnx", "raw/catalog/dt=2017-03-01/snapshot.csv"])
def test_a_planted_file_fails_the_proof_by_name(filled, store, name):
    report = erasure.erase(filled, [ANNA], "", "test", quiet)
    path = os.path.join(store, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as stream:
        stream.write(f"x\nsee {pseudonyms.of(filled).of(ANNA)} there\n")
    with pytest.raises(ErasureIncomplete, match=f"1 in store: {name}"):
        erasure.prove(filled, erasure.identify(filled, [ANNA]), "", "test", report, quiet)


def test_a_broken_file_is_named_and_not_passed_over(filled, store):
    path = os.path.join(store, "raw/events/dt=2017-03-01/a.jsonl.gz")
    with open(path, "r+b") as stream:
        stream.truncate(60)
    with pytest.raises(ErasureIncomplete, match=r"a\.jsonl\.gz cannot be searched"):
        erasure.erase(filled, [ANNA], "", "test", quiet)


def test_an_erasure_waits_for_what_writes_user_ids(filled):
    """The barrier: nobody who has not seen the tombstone is still writing when the deleting begins."""
    import threading

    with connect(filled.shop_dsn) as connection:
        tombstones.shield(connection)
        worker = threading.Thread(target=erasure.bury, args=(filled, erasure.identify(filled, [ANNA]), quiet))
        worker.start()
        worker.join(0.5)
        assert worker.is_alive() and len(tombstones.erased(filled)) == 1
    worker.join(10)
    assert not worker.is_alive()


def test_nobody_is_an_error(shop):
    with pytest.raises(InputError, match="no user"):
        erasure.erase(shop, [" ", "<erased>"], "", "test", quiet)


def test_short_ids_and_words_are_looked_for_where_ids_stand_only(shop):
    keys = pseudonyms.of(shop)
    for user, searched in (("12", False), ("samsung", False), ("user-77", True), ("10415530", True), ("anna@example.com", True)):
        found = traces.of(keys, [user])
        assert (user in found.words) is searched
        assert found.blank(f"about {user}.") == ("about <erased>." if searched else f"about {user}.")
        assert found.blank({"k": [found.parameters["pseudonyms"][0]]}) == {"k": ["<erased>"]}


def test_what_is_made_while_she_is_erased_does_not_name_her(shop, tmp_path):
    file, mine = tmp_path / "evaluation.parquet", pseudonyms.of(shop).of(ANNA)
    pq.write_table(pa.table({"unit": [mine, "uBBBBBBBBBBBBBBBBBBBBBB"], "candidate": [0.5, 0.25]}), file)
    with ThreadPoolExecutor(1) as pool, tombstones.blanked(shop, file, "unit") as count:
        assert count == 0
        buried = pool.submit(tombstones.bury, shop, [mine])
        with pytest.raises(TimeoutError):  # she would be searched for before the file is where it is searched
            buried.result(0.5)
    assert buried.result(10) is None
    with tombstones.blanked(shop, file, "unit") as count:
        assert count == 1
    assert pq.read_table(file).to_pydict() == {"unit": [traces.ERASED, "uBBBBBBBBBBBBBBBBBBBBBB"], "candidate": [0.5, 0.25]}
