"""The object store of logs and artefacts: a folder or S3, behind one small interface. Keys use `/`."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from ecomrec.errors import InputError, SettingsError
from ecomrec.settings import Settings

ATTEMPTS = 8  # of one request to S3, with the back-off of botocore's standard mode: about a minute in all
SECONDS = {"connect_timeout": 10, "read_timeout": 60}


class Object(NamedTuple):
    """One stored object. `etag` changes whenever its bytes do."""

    key: str
    bytes: int
    etag: str


def open_store(settings: Settings) -> "FolderStore | S3Store":
    """The store that the settings name."""
    if settings.store.startswith("s3://"):
        return S3Store(settings)
    return FolderStore(Path(settings.store.removeprefix("file://")))


class Store:
    """What both kinds share; each offers `objects`, `fetch` and `put`."""

    def list(self, prefix: str) -> list[tuple[str, int]]:
        """`(key, bytes)` of everything below `prefix`, sorted."""
        return [(found.key, found.bytes) for found in self.objects(prefix)]

    def put_folder(self, folder: Path, prefix: str) -> None:
        """Stores every file below `folder`."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(path, f"{prefix}/{path.relative_to(folder)}")


class FolderStore(Store):
    """Keys are paths below a folder; `fetch` copies nothing."""

    def __init__(self, base: Path):
        self.base = base

    def objects(self, prefix: str) -> list[Object]:
        """Everything below `prefix`, sorted, behind links to folders too (a `raw` that lies on another disk); half-written files (dot-names) are not there yet."""
        found = []
        for folder, names, files in os.walk(self.base / prefix, followlinks=True):
            names[:] = [name for name in names if not self._leads_back(Path(folder, name))]
            for path in (Path(folder, name) for name in files if not name.startswith(".")):
                if path.is_file():
                    facts = path.stat()
                    found.append(Object(str(path.relative_to(self.base)), facts.st_size, f"{facts.st_mtime_ns:x}-{facts.st_size:x}"))
        return sorted(found)

    def _leads_back(self, path: Path) -> bool:
        """True of a link to a folder that one is in already: to follow it would never end."""
        return path.is_symlink() and path.resolve() in {above.resolve() for above in path.parents if above.is_relative_to(self.base)}

    def fetch(self, key: str, folder: Path) -> Path:
        """A local path with the object's bytes."""
        return self.base / key

    def read_text(self, key: str) -> str | None:
        """A small object's text, or None when there is none."""
        path = self.base / key
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def put(self, path: Path, key: str) -> None:
        """Stores a file; readers see it whole or not at all. Of a link what it leads to is replaced: what was there must not live on behind it."""
        target = (self.base / key).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(path, temporary)
        os.replace(temporary, target)

    def fetch_folder(self, prefix: str, folder: Path) -> None:
        """Copies every object below `prefix` into `folder`."""
        shutil.copytree(self.base / prefix, folder, dirs_exist_ok=True)


class S3Store(Store):
    """Keys are objects below `s3://bucket/prefix`. Credentials: the settings' (in Airflow the Connection `ecomrec_s3`), else the AWS chain.

    Requests that S3 throttles or drops are tried again with back-off; objects go to and from disk in parts, never
    whole through memory.
    """

    def __init__(self, settings: Settings):
        import boto3
        from botocore.config import Config

        bucket, _, prefix = settings.store.removeprefix("s3://").partition("/")
        if not bucket:
            raise SettingsError(f"ECOMREC_STORE_URL {settings.store_url!r} names no bucket", "write it as s3://bucket/prefix")
        secret = settings.s3_secret_access_key
        self.bucket, self.prefix = bucket, prefix.strip("/")
        self.client = boto3.client("s3", endpoint_url=settings.s3_endpoint_url or None, region_name=settings.s3_region or None,
                                   aws_access_key_id=settings.s3_access_key_id or None,
                                   aws_secret_access_key=secret.get_secret_value() if secret else None,
                                   config=Config(retries={"mode": "standard", "total_max_attempts": ATTEMPTS}, **SECONDS))

    def objects(self, prefix: str) -> list[Object]:
        """Everything below `prefix`, sorted, however many pages of a thousand that is; without the empty objects that consoles keep for a folder."""
        below = self._key(prefix).rstrip("/")  # nothing: the whole of a bucket that is all the store's
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{below}/" if below else "")
        skip = len(self._key(""))
        return sorted(Object(found["Key"][skip:], found["Size"], found["ETag"].strip('"')) for page in pages for found in page.get("Contents", ())
                      if not found["Key"].endswith("/"))

    def fetch(self, key: str, folder: Path) -> Path:
        """A local path with the object's bytes. Raises InputError when the object is gone."""
        from botocore.exceptions import ClientError

        path = folder / key.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.client.download_file(self.bucket, self._key(key), str(path))
        except ClientError as error:
            raise InputError(f"s3://{self.bucket}/{self._key(key)} cannot be fetched: {error}", "check that it is there and that the credentials may read it") from error
        return path

    def read_text(self, key: str) -> str | None:
        """A small object's text, or None when there is none."""
        from botocore.exceptions import ClientError

        try:
            return self.client.get_object(Bucket=self.bucket, Key=self._key(key))["Body"].read().decode("utf-8")
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise

    def put(self, path: Path, key: str) -> None:
        """Stores a file, in parts when it is large; readers see it whole or not at all."""
        self.client.upload_file(str(path), self.bucket, self._key(key))

    def fetch_folder(self, prefix: str, folder: Path) -> None:
        """Copies every object below `prefix` into `folder`."""
        for found in self.objects(prefix):
            path = folder / found.key.removeprefix(prefix).lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.client.download_file(self.bucket, self._key(found.key), str(path))

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key
