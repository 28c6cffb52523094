"""The object store of logs and artefacts: a folder or S3, behind the same six functions. Keys use `/`."""

import os
import shutil
from pathlib import Path

from ecomrec.errors import SettingsError
from ecomrec.settings import Settings


def open_store(settings: Settings) -> "FolderStore | S3Store":
    """The store that the settings name."""
    if settings.store.startswith("s3://"):
        return S3Store(settings.store, settings.s3_endpoint_url)
    return FolderStore(Path(settings.store.removeprefix("file://")))


class FolderStore:
    """Keys are paths below a folder; `fetch` copies nothing."""

    def __init__(self, base: Path):
        self.base = base

    def list(self, prefix: str) -> list[tuple[str, int]]:
        """`(key, bytes)` of everything below `prefix`, sorted; half-written files (dot-names) are not there yet."""
        root = self.base / prefix
        return sorted((str(path.relative_to(self.base)), path.stat().st_size) for path in root.rglob("*")
                      if path.is_file() and not path.name.startswith("."))

    def fetch(self, key: str, folder: Path) -> Path:
        """A local path with the object's bytes."""
        return self.base / key

    def put(self, path: Path, key: str) -> None:
        """Stores a file; readers see it whole or not at all."""
        target = self.base / key
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(path, temporary)
        os.replace(temporary, target)

    def put_folder(self, folder: Path, prefix: str) -> None:
        """Stores every file below `folder`."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(path, f"{prefix}/{path.relative_to(folder)}")

    def fetch_folder(self, prefix: str, folder: Path) -> None:
        """Copies every object below `prefix` into `folder`."""
        shutil.copytree(self.base / prefix, folder, dirs_exist_ok=True)


class S3Store:
    """Keys are objects below `s3://bucket/prefix`; credentials come from the usual AWS chain."""

    def __init__(self, url: str, endpoint: str):
        import boto3

        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise SettingsError(f"ECOMREC_STORE_URL {url!r} names no bucket", "write it as s3://bucket/prefix")
        self.bucket, self.prefix = bucket, prefix.strip("/")
        self.client = boto3.client("s3", endpoint_url=endpoint or None)

    def list(self, prefix: str) -> list[tuple[str, int]]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix).rstrip("/") + "/")
        skip = len(self._key(""))
        return sorted((found["Key"][skip:], found["Size"]) for page in pages for found in page.get("Contents", ()))

    def fetch(self, key: str, folder: Path) -> Path:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        self.client.download_file(self.bucket, self._key(key), str(path))
        return path

    def put(self, path: Path, key: str) -> None:
        self.client.upload_file(str(path), self.bucket, self._key(key))

    def put_folder(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(path, f"{prefix}/{path.relative_to(folder)}")

    def fetch_folder(self, prefix: str, folder: Path) -> None:
        for key, _ in self.list(prefix):
            path = folder / key.removeprefix(prefix).lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.client.download_file(self.bucket, self._key(key), str(path))

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key
