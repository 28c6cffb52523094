"""docker-compose.yml, Dockerfile and .env.example agree with each other, with the settings, and with Airflow's commands."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from ecomrec.settings import ROOT, Settings

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("ecomrec")]
FIELDS = {f"ECOMREC_{name.upper()}" for name in Settings.model_fields}
SECRET = re.compile(r"PASSWORD|SECRET|FERNET|ACCESS_KEY|_AUTH$")
URL_PASSWORD = re.compile(r"://[^:@/]*:([^@]*)@")
FROM_ENVIRONMENT = re.compile(r"\$\{[A-Z_0-9]+:\?[^}]+\}")


def test_services():
    assert set(OURS) == {"init", "api-server", "scheduler", "dag-processor", "triggerer", "worker", "gpu-worker"}
    assert set(SERVICES) - set(OURS) == {"postgres", "redis", "store"}
    assert len({SERVICES[name]["image"] for name in OURS}) == 1


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "init"])
def test_a_service_restarts_and_says_whether_it_is_healthy(name):
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"]


def test_images_are_pinned():
    for name, service in SERVICES.items():
        assert ":" in service["image"] and not service["image"].endswith(":latest"), name


def test_all_airflow_services_share_their_settings():
    shared = SERVICES["scheduler"]["environment"]
    assert shared["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    for name in OURS:
        environment = SERVICES[name]["environment"]
        assert {key: environment[key] for key in shared} == shared, name


def test_queues():
    worker, gpu = SERVICES["worker"], SERVICES["gpu-worker"]
    assert "--queues ${WORKER_QUEUES:-default,scoring} " in worker["command"]
    assert "--queues gpu --concurrency 1" in gpu["command"]
    assert gpu["profiles"] == ["gpu"]
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia"
    assert worker["environment"]["AIRFLOW__OPERATORS__DEFAULT_QUEUE"] == "default"


def test_every_ecomrec_name_is_a_setting():
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("docker-compose.yml", ".env.example", "Dockerfile"))
    named = set(re.findall(r"\bECOMREC_[A-Z0-9_]+", text))
    assert named and named <= FIELDS, named - FIELDS


def test_no_secret_is_written_down_or_has_a_default():
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key):
                assert FROM_ENVIRONMENT.fullmatch(value), f"{name}: {key}"
            for password in URL_PASSWORD.findall(str(value)):
                assert FROM_ENVIRONMENT.fullmatch(password), f"{name}: {key}"


def test_env_example_names_every_variable_and_no_secret_value():
    lines = [line for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    example = dict(line.split("=", 1) for line in lines)
    used = set(re.findall(r"(?<!\$)\$\{([A-Z_0-9]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert used == set(example)
    assert not [key for key, value in example.items() if SECRET.search(key) and value]


def test_the_settings_of_compose_are_valid():
    """The environment that a service sees, with the secrets filled in, makes a Settings that starts nothing embedded."""
    values = {}
    for key, value in SERVICES["scheduler"]["environment"].items():
        if key.startswith("ECOMREC_"):
            values[key.removeprefix("ECOMREC_").lower()] = re.sub(r"\$\{[^}]*\}", "" if ":-" in value else "filled-in", value)
    settings = Settings(_env_file=None, **values)
    assert not settings.embedded_postgres
    assert settings.store == "s3://ecomrec"
    assert settings.shop_dsn == "postgresql://ecomrec:filled-in@postgres:5432/shop"


def test_databases_of_the_urls_are_made():
    made = set(re.findall(r"CREATE DATABASE (\w+)", COMPOSE["configs"]["databases"]["content"]))
    made.add(SERVICES["postgres"]["environment"]["POSTGRES_DB"])
    urls = [value for key, value in SERVICES["init"]["environment"].items() if key.endswith("_DATABASE_URL")]
    assert {url.rsplit("/", 1)[1] for url in urls} == made


def test_the_image_holds_what_the_project_needs_and_no_secret():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".env", ".git", ".ecomrec", ".venv"} <= set(ignored)
    assert not {"dags", "ecomrec", "sql", "plugins"} & set(ignored)
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert dockerfile.index("^torch==") < dockerfile.index("-r requirements.txt")
    assert re.search(r"^USER ecomrec$", dockerfile, re.M)


@pytest.mark.slow
def test_airflow_knows_every_command(tmp_path):
    """Airflow's own argument parser accepts the commands of all services, options included."""
    commands = [shlex.split(re.sub(r"\$\{[^}]*\}", "default", SERVICES[name]["command"])) for name in OURS if name != "init"]
    script = re.sub(r"\$\{[^}]*:-(\w+)\}", r"\1", SERVICES["init"]["command"][-1]).replace("\\\n", " ")
    commands += [shlex.split(line.rpartition("| ")[2]) for line in script.splitlines() if line.rpartition("| ")[2].startswith("airflow ")]
    assert ["airflow", "users", "create"] in [command[:3] for command in commands]
    commands += [shlex.split(SERVICES[name]["healthcheck"]["test"][1]) for name in ("dag-processor", "triggerer")]
    program = ("import json, sys; from airflow.cli.cli_parser import get_parser; parser = get_parser()\n"
               "for command in json.load(sys.stdin): parser.parse_args(command[1:])")
    environment = {key: value for key, value in SERVICES["init"]["environment"].items() if key in ("AIRFLOW__CORE__EXECUTOR", "AIRFLOW__CORE__AUTH_MANAGER")}
    done = subprocess.run([sys.executable, "-c", program], input=json.dumps(commands), text=True, capture_output=True, check=False,
                          env={**os.environ, **environment, "AIRFLOW_HOME": str(tmp_path)})
    assert len(commands) >= 11
    assert done.returncode == 0, done.stderr[-2000:]
