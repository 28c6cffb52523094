"""The command line and the settings: help, errors of two lines, masked secrets, documents that are true."""

import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from ecomrec import cli, cli_ingest
from ecomrec.settings import ROOT, Settings, sqlalchemy_url

URLS = {f"ECOMREC_{name}_URL": f"postgresql://me:hunter2@db.example.com/{name.lower()}" for name in ("DATABASE", "AIRFLOW_DATABASE", "MLFLOW_DATABASE")}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    env = {name: value for name, value in os.environ.items() if not name.startswith("ECOMREC_")} | environment
    return subprocess.run([sys.executable, "-m", "ecomrec", *arguments], env=env, cwd=ROOT / "tests", capture_output=True, text=True, check=False)


def test_help_names_every_command():
    said = run("--help").stdout
    assert all(name in said for name in ("up", "down", "status", "config", "migrate", "replay", "demo", "sql", "psql"))


def test_a_wrong_setting_is_named_in_two_lines():
    done = run("status", ECOMREC_AIRFLOW_PORT="many")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[0].startswith("ecomrec: ECOMREC_AIRFLOW_PORT: ") and "remedy" in done.stderr.splitlines()[1]


def test_half_an_external_postgres_is_refused():
    done = run("status", ECOMREC_DATABASE_URL=URLS["ECOMREC_DATABASE_URL"])
    assert done.returncode == 1 and "ECOMREC_MLFLOW_DATABASE_URL" in done.stderr


def test_config_masks_secrets_and_says_where_values_come_from():
    said = run("config", ECOMREC_LIST_LENGTH="33", ECOMREC_AIRFLOW_PASSWORD="hunter2", **URLS).stdout
    assert "hunter2" not in said and "ECOMREC_LIST_LENGTH=33   (environment)" in said and "ECOMREC_SEED=42   (default)" in said


def test_status_without_a_stack_is_3(tmp_path):
    done = run("status", ECOMREC_HOME=str(tmp_path), ECOMREC_AIRFLOW_PORT="18999")
    assert done.returncode == 3 and done.stdout.startswith("down")


def test_a_wrong_day_is_named():
    assert "'June' is not a day" in run("replay", "--dataset", "completejourney", "--from", "June", "--to", "2017-06-02").stderr
    assert "'yesterday' is not a day" in run("rejects", "--day", "yesterday").stderr


def test_a_kind_and_a_url_that_are_none_are_said_and_the_password_is_not(shop, capsys):
    done = run("loads", "--kind", "foo")
    assert done.returncode == 2 and "'foo'" in done.stderr and "'catalog'" in done.stderr and "Traceback" not in done.stderr
    cli_ingest._loads(shop, cli_ingest.Kind.events, False, False)
    assert "0 days" in capsys.readouterr().out
    wrong = {name: url.replace("postgresql", "mysql") for name, url in URLS.items()}
    done = run("loads", **wrong)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "hunter2" not in done.stderr and "none of Postgres's" in done.stderr


def test_sql_is_read_only(shop, capsys, monkeypatch):
    monkeypatch.setattr(cli, "settings", lambda: shop)
    cli.sql("SELECT 'hello' AS word")
    assert "hello" in capsys.readouterr().out
    cli.sql("SELECT 'Shirt [red] or [/blue]' AS \"[title]\"")
    assert "Shirt [red] or [/blue]" in (shown := capsys.readouterr().out) and "[title]" in shown
    with pytest.raises(cli.EcomrecError, match="returns no rows"):
        cli.sql("SET search_path = core")
    with pytest.raises(cli.EcomrecError, match="read-only"):
        cli.sql("CREATE TABLE x (y int)")


def test_the_settings_page_is_true():
    assert (ROOT / "docs" / "settings.md").read_text() == cli.settings_table() + "\n"


def test_every_setting_says_what_it_is():
    assert [name for name, field in Settings.model_fields.items() if len(field.description or "") < 20] == []


def test_a_wrong_setting_shows_no_secret_beside_it():
    for wrong in ({"database_url": "postgresql://u:HIDDEN@h/shop"}, {"retention_events": 30}, {"database_url": "host=h user=u password=HIDDEN"}):
        with pytest.raises(ValidationError) as refused:
            Settings(_env_file=None, **wrong, user_key="a-key-that-is-long-enough-for-this-HIDDEN")
        assert "HIDDEN" not in str(refused.value)
    assert "write it as postgresql://" in str(refused.value)


def test_settings_are_frozen_and_external_urls_start_nothing(monkeypatch):
    for name, value in URLS.items():
        monkeypatch.setenv(name, value)
    found = Settings(_env_file=None)
    assert not found.embedded_postgres and found.shop_dsn == URLS["ECOMREC_DATABASE_URL"]
    with pytest.raises(Exception, match="frozen"):
        found.seed = 1


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_spelling_of_a_url_works_for_sqlalchemy(scheme):
    assert sqlalchemy_url(f"{scheme}://a@b/c") == "postgresql+psycopg2://a@b/c"
