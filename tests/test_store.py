"""The object store: a folder and S3 say the same things about the same objects."""

import shutil
from pathlib import Path

import pytest

from ecomrec.errors import SettingsError
from ecomrec.settings import Settings
from ecomrec.store import open_store


class Bucket:
    """What the store uses of boto3's S3 client, in memory; two objects a page, so that paging matters."""

    def __init__(self):
        self.objects = {}

    def get_paginator(self, operation):
        assert operation == "list_objects_v2"
        return self

    def paginate(self, Bucket, Prefix):
        found = [{"Key": key, "Size": len(body)} for (bucket, key), body in sorted(self.objects.items()) if bucket == Bucket and key.startswith(Prefix)]
        return [{"Contents": found[start:start + 2]} for start in range(0, len(found), 2)] or [{}]

    def upload_file(self, path, bucket, key):
        self.objects[bucket, key] = Path(path).read_bytes()

    def download_file(self, bucket, key, path):
        Path(path).write_bytes(self.objects[bucket, key])


@pytest.fixture(params=["folder", "s3", "s3 without a prefix"])
def store(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return open_store(Settings(_env_file=None, store_url=str(tmp_path / "store")))
    bucket, asked = Bucket(), {}
    monkeypatch.setattr("boto3.client", lambda service, endpoint_url: asked.update(service=service, endpoint=endpoint_url) or bucket)
    url = "s3://shop/deep/prefix" if request.param == "s3" else "s3://shop"
    opened = open_store(Settings(_env_file=None, store_url=url, s3_endpoint_url="http://localhost:9000"))
    assert asked == {"service": "s3", "endpoint": "http://localhost:9000"}
    return opened


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
    assert store.list("raw/events/dt=2031-01-01") == []


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
