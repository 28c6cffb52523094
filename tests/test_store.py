"""The object store: a folder and S3 (a real server) say the same things about the same objects."""

import http.server
import secrets
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ecomrec.errors import InputError, SettingsError
from ecomrec.settings import Settings
from ecomrec.store import open_store
from tests.buckets import bucket, in_s3


@pytest.fixture(params=["folder", "s3", "s3 without a prefix"])
def store(request, tmp_path):
    if request.param == "folder":
        return open_store(Settings(_env_file=None, store_url=str(tmp_path / "store")))
    name = f"shop-{secrets.token_hex(4)}"
    return bucket(in_s3(request.getfixturevalue("s3"), f"s3://{name}/deep/prefix" if request.param == "s3" else f"s3://{name}"))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "deep/c.txt"):
        (folder / name).write_text(f"text of {name}")
    return folder


def test_what_was_put_is_listed_and_fetched(store, source, tmp_path):
    store.put(source / "a.txt", "raw/events/dt=2017-03-01/a.txt")
    assert store.list("raw/events/dt=2017-03-01") == [("raw/events/dt=2017-03-01/a.txt", 13)]
    assert store.fetch("raw/events/dt=2017-03-01/a.txt", tmp_path / "scratch").read_text() == "text of a.txt"


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(store, source):
    store.put(source / "a.txt", "raw/events/dt=2017-03-1/a.txt")
    store.put(source / "a.txt", "raw/events/dt=2017-03-10/a.txt")
    assert [key for key, _ in store.list("raw/events/dt=2017-03-1")] == ["raw/events/dt=2017-03-1/a.txt"]


def test_nothing_there_is_an_empty_list(store):
    assert store.list("raw/events/dt=2031-01-01") == [] and store.list("") == []


def test_the_list_of_everything_has_every_folder(store, source, tmp_path):
    for key in ("top.txt", "raw/events/dt=2017-03-01/a.txt", "work/run/b.txt"):
        store.put(source / "a.txt", key)
    assert store.list("") == [("raw/events/dt=2017-03-01/a.txt", 13), ("top.txt", 13), ("work/run/b.txt", 13)]
    assert [store.fetch(key, tmp_path / "scratch").read_text() for key, _ in store.list("")] == ["text of a.txt"] * 3


def test_folders_and_files_behind_links_are_the_stores_too(tmp_path, source):
    store = open_store(Settings(_env_file=None, store_url=str(tmp_path / "store")))
    store.put(source / "a.txt", "models/a.txt")
    (store.base / "raw").symlink_to(source)
    (source / "deep" / "around").symlink_to(source)
    (source / "deep" / "home").symlink_to(store.base)
    (source / "deep" / "gone").symlink_to(tmp_path / "unplugged")
    (store.base / "raw" / "same.txt").symlink_to(source / "b.txt")
    assert [key for key, _ in store.list("raw")] == ["raw/a.txt", "raw/b.txt", "raw/deep/c.txt", "raw/same.txt"]
    assert store.list("") == sorted([*store.list("models"), *store.list("raw")])
    assert [key for key, _ in store.list("raw/deep")] == ["raw/deep/c.txt"]
    store.put(source / "a.txt", "raw/same.txt")
    assert (source / "b.txt").read_text() == "text of a.txt", "what a link leads to is replaced"


def test_a_folder_goes_there_and_back(store, source, tmp_path):
    store.put_folder(source, "models/7")
    assert [key for key, _ in store.list("models/7")] == ["models/7/a.txt", "models/7/b.txt", "models/7/deep/c.txt"]
    store.fetch_folder("models/7", tmp_path / "back")
    assert {str(path.relative_to(tmp_path / "back")): path.read_text() for path in (tmp_path / "back").rglob("*.txt")} == {
        name: f"text of {name}" for name in ("a.txt", "b.txt", "deep/c.txt")}


def test_putting_again_replaces(store, source, tmp_path):
    store.put(source / "a.txt", "x")
    store.put(source / "b.txt", "x")
    assert store.fetch("x", tmp_path / "scratch").read_text() == "text of b.txt"


def test_a_folder_shows_no_half_written_object(tmp_path, source, monkeypatch):
    store = open_store(Settings(_env_file=None, store_url=str(tmp_path / "store")))
    store.put(source / "a.txt", "raw/x.txt")

    def cut_off(path, target):
        Path(target).write_text("text")
        raise OSError("No space left on device")

    monkeypatch.setattr(shutil, "copyfile", cut_off)
    with pytest.raises(OSError, match="No space left"):
        store.put(source / "b.txt", "raw/x.txt")
    assert store.list("raw") == [("raw/x.txt", 13)]
    assert store.fetch("raw/x.txt", tmp_path).read_text() == "text of a.txt"


def test_a_folder_is_read_where_it_lies(tmp_path, source):
    store = open_store(Settings(_env_file=None, store_url=f"file://{tmp_path / 'store'}"))
    store.put(source / "a.txt", "a.txt")
    assert store.fetch("a.txt", tmp_path / "elsewhere") == tmp_path / "store" / "a.txt"


def test_a_bucket_must_be_named():
    with pytest.raises(SettingsError, match="names no bucket"):
        open_store(Settings(_env_file=None, store_url="s3:///prefix"))


def test_an_etag_changes_with_the_bytes(store, source):
    store.put(source / "a.txt", "raw/x")
    (before,) = store.objects("raw")
    assert store.objects("raw") == [before]
    store.put(source / "b.txt", "raw/x")
    (after,) = store.objects("raw")
    assert (after.key, after.bytes) == (before.key, before.bytes) and after.etag != before.etag


def test_a_small_text_is_read_or_is_not_there(store, source):
    store.put(source / "a.txt", "config/mapping.toml")
    assert (store.read_text("config/mapping.toml"), store.read_text("config/none.toml")) == ("text of a.txt", None)


def test_a_bucket_of_more_than_a_page_is_listed_whole(s3, source):
    store = bucket(in_s3(s3, "s3://many/p"))
    for number in range(120):
        store.client.put_object(Bucket="many", Key=f"p/raw/{number:05}", Body=b"x")
    assert len(store.list("raw")) == 120


def test_a_large_object_goes_in_parts_and_never_whole_through_memory(s3, tmp_path):
    store = bucket(in_s3(s3, "s3://large"))
    (tmp_path / "large").write_bytes(secrets.token_bytes(1 << 20) * 200)
    code = ("import resource, sys; from pathlib import Path; from ecomrec.settings import Settings; from ecomrec.store import open_store\n"
            "store = open_store(Settings(_env_file=None)); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "store.put(Path(sys.argv[1]), 'raw/x'); path = store.fetch('raw/x', Path(sys.argv[2])); assert path.stat().st_size == 200 << 20\n"
            "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)")
    settings = {"ECOMREC_STORE_URL": "s3://large", "ECOMREC_S3_ENDPOINT_URL": s3, "ECOMREC_S3_REGION": "eu-central-1", "ECOMREC_S3_ACCESS_KEY_ID": "who",
                "ECOMREC_S3_SECRET_ACCESS_KEY": "secret"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "large"), str(tmp_path / "back")], env=settings, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150, f"{done.stdout.strip()} MB more than before, for an object of 200 MB"
    assert store.objects("raw")[0].etag.endswith("-25"), "eight MB a part"
    assert (tmp_path / "back" / "raw" / "x").read_bytes() == (tmp_path / "large").read_bytes()


def test_what_s3_throttles_is_asked_again(tmp_path, source):
    """A server that answers 503 SlowDown twice before it answers: the store waits and gets what it asked for."""
    asked = []

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(time.monotonic())
            body = (b"<Error><Code>SlowDown</Code></Error>" if len(asked) < 3 else
                    b"<ListBucketResult><Contents><Key>raw/a</Key><Size>3</Size><ETag>&quot;e&quot;</ETag></Contents></ListBucketResult>")
            self.send_response(503 if len(asked) < 3 else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert open_store(in_s3(f"http://127.0.0.1:{server.server_port}", "s3://busy")).list("raw") == [("raw/a", 3)]
        server.shutdown()
    assert len(asked) == 3 and asked[2] - asked[0] > 0.01


def test_an_object_that_is_gone_is_named(s3, tmp_path):
    with pytest.raises(InputError, match=r"s3://gone/raw/x cannot be fetched"):
        bucket(in_s3(s3, "s3://gone")).fetch("raw/x", tmp_path)


def test_connections_of_airflow_say_where_the_bucket_and_the_database_are():
    there = {"ecomrec_db": SimpleNamespace(get_uri=lambda: "postgresql://u:p@db/shop"),
             "ecomrec_s3": SimpleNamespace(login="who", password="secret", extra_dejson={"endpoint_url": "http://store:9000"})}
    own = Settings(_env_file=None, store_url="s3://bucket", s3_region="eu-central-1", s3_access_key_id="old",
                   **dict.fromkeys(("database_url", "airflow_database_url", "mlflow_database_url"), "postgresql://x/y"))
    found = own.connected(there.get)
    assert (found.shop_dsn, found.airflow_dsn) == ("postgresql://u:p@db/shop", "postgresql://x/y")
    assert (found.s3_access_key_id, found.s3_secret_access_key.get_secret_value(), found.s3_endpoint_url, found.s3_region) == ("who", "secret", "http://store:9000", "eu-central-1")
    assert own.connected({}.get) == own
    embedded = Settings(_env_file=None)
    assert embedded.connected(there.get) == embedded
