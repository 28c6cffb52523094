"""Fixtures that many tests share: a real PostgreSQL 18, started once, and a fresh migrated shop database for each test."""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg2
import pytest

from ecomrec.compression import variants
from ecomrec.migrations import migrate
from ecomrec.settings import Settings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def hasty():
    """Variants of a model are timed for moments: tests ask what is done with the figures, not for the figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants, "SECONDS", 0.0)
        patch.setattr(variants, "SINGLES", 5)
        yield


@pytest.fixture(scope="session")
def postgres():
    """libpq URL template of a running server: `.format(database=…)`."""
    from ecomrec.runtime import postgres as embedded

    home = Path(tempfile.mkdtemp(prefix="ecomrec-test-"))
    settings = Settings(home=home, _env_file=None)
    embedded.start(settings)
    try:
        yield settings.shop_dsn.replace("/shop?", "/{database}?")
    finally:
        embedded.stop(settings)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def template_database(postgres):
    _admin(postgres, "CREATE DATABASE shop_template")
    migrate(postgres.format(database="shop_template"))
    return "shop_template"


@pytest.fixture
def shop(postgres, template_database, tmp_path):
    """Settings that point at a fresh migrated database and an empty store folder."""
    name = f"shop_{next(_numbers)}"
    _admin(postgres, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    dsn = postgres.format(database=name)
    settings = Settings(_env_file=None, home=tmp_path / "home", store_url=str(tmp_path / "store"), database_url=dsn,
                        airflow_database_url=dsn, mlflow_database_url=dsn, user_key="a-key-of-the-tests-long-enough-to-be-one")
    yield settings
    _admin(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def s3():
    """Address of a real S3 server: moto's, a process of its own on the loopback address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env={**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": "50"})  # a page; S3's own is 1,000
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(20)


@pytest.fixture
def shared_data():
    """The folder of real data sets beside the checkout; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no folder {SHARED_DATA.parent.name}/{SHARED_DATA.name} beside this checkout")
    return SHARED_DATA


def _admin(template: str, statement: str) -> None:
    connection = psycopg2.connect(template.format(database="postgres"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()
