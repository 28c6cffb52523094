"""The embedded Airflow: its environment, its processes, its health. Nothing here imports Airflow."""

import json
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import requests

from ecomrec.errors import EcomrecError
from ecomrec.settings import ROOT, Settings, sqlalchemy_url

# The log servers of the last two would listen on every address, on fixed ports; on one machine the UI reads the files themselves.
COMPONENTS = {"api-server": (), "dag-processor": (), "scheduler": ("--skip-serve-logs",), "triggerer": ("--skip-serve-logs",)}
HEALTH = {"metadatabase": "Airflow's database", "scheduler": "scheduler", "dag_processor": "dag-processor", "triggerer": "triggerer"}


def environment(settings: Settings, port: int) -> dict[str, str]:
    """The environment of every Airflow process: this one's, with what must be so. Secrets are made once per home, mode 600."""
    home = settings.home.resolve() / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    password_file = home / "passwords.json"
    _write_secret(password_file, json.dumps({settings.airflow_user: login(settings)["password"]}))
    url = f"http://{settings.airflow_host}:{port}"
    # A thread of OpenMP that waits must not hold a core that another task's would use (decision 54).
    patience = {} if "OMP_WAIT_POLICY" in os.environ else {"GOMP_SPINCOUNT": "1000"}
    return {
        **patience,
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",  # nothing runs by the clock until a schedule is set (decision 4)
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(settings.airflow_parallelism),
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{settings.airflow_user}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(password_file),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": _secret(home / "fernet.key", "fernet"),
        "AIRFLOW__API__SECRET_KEY": _secret(home / "api.key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": _secret(home / "jwt.key"),
        "AIRFLOW__API__HOST": settings.airflow_host,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": sqlalchemy_url(settings.airflow_dsn),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "5",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "15",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "AIRFLOW_CONN_ECOMREC_DB": settings.shop_dsn,
        "ECOMREC_HOME": str(settings.home.resolve()),
        "GIT_PYTHON_REFRESH": "quiet",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONWARNINGS": "ignore",
        "TOKENIZERS_PARALLELISM": "false",
    }


def login(settings: Settings) -> dict[str, str]:
    """User and password of the UI; a password that nobody set is made once and kept."""
    path = settings.home.resolve() / "airflow" / "password"
    given = settings.airflow_password.get_secret_value() if settings.airflow_password else _secret(path, "password")
    return {"user": settings.airflow_user, "password": given}


def free_port(settings: Settings) -> int:
    """The wanted port, or the next free one of the fifty after it."""
    for port in range(settings.airflow_port, min(settings.airflow_port + 50, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.airflow_host, port))
                return port
            except OSError:
                continue
    raise EcomrecError(f"no free port from {settings.airflow_port} on {settings.airflow_host}", "set ECOMREC_AIRFLOW_PORT to a free one")


def migrate(settings: Settings, env: dict[str, str]) -> None:
    """Brings Airflow's and MLflow's databases up to date, at the same time; each is skipped when this version did it before."""
    logs = settings.home.resolve() / "logs"
    url = sqlalchemy_url(settings.mlflow_dsn)
    # By the environment, which other users of the machine cannot read as they can a command line.
    mlflow = "import os, sys; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore; SqlAlchemyStore(os.environ['ECOMREC_MIGRATED'], sys.argv[1])"
    steps = {
        "apache-airflow": ["/bin/sh", "-c", '"$0" db migrate && "$0" pools set gpu 1 "One model trains at a time" && "$0" pools set scoring "$1" "Users scored side by side"',
                           program("airflow"), str(settings.scoring_tasks)],
        "mlflow": [sys.executable, "-c", mlflow, f"{settings.store}/models"],
    }
    running = {}
    for name, command in steps.items():
        log = logs / f"migrate-{name}.log"
        if not _migrated(settings, name):
            running[name] = (subprocess.Popen(command, env={**env, "ECOMREC_MIGRATED": url}, cwd=ROOT, stdout=log.open("w"), stderr=subprocess.STDOUT), log)
    for name, (process, log) in running.items():
        if process.wait():
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
            raise EcomrecError(f"migrating the database of {name} failed:\n{tail}", f"see {log}")
        _marker(settings, name).write_text(_version(settings, name), encoding="utf-8")


def command(component: str) -> list[str]:
    """The command line of one component."""
    return [program("airflow"), component, *COMPONENTS[component]]


def health(url: str) -> dict[str, bool]:
    """Component -> healthy, as Airflow itself says; everything False while it does not answer."""
    session = requests.Session()
    session.trust_env = False  # a proxy of the environment must not come between us and localhost
    try:
        said = session.get(f"{url}/api/v2/monitor/health", timeout=5).json()
    except (requests.RequestException, ValueError):
        return dict.fromkeys(HEALTH.values(), False)
    return {name: (said.get(key) or {}).get("status") == "healthy" for key, name in HEALTH.items()}


def program(name: str) -> str:
    """A console script of this virtual environment."""
    return str(Path(sys.executable).with_name(name))


def _version(settings: Settings, name: str) -> str:
    from importlib.metadata import version

    if name == "apache-airflow":
        return f"{version(name)} {settings.airflow_dsn.rsplit('@', 1)[-1]} pool of {settings.scoring_tasks}"
    return f"{version(name)} {settings.mlflow_dsn.rsplit('@', 1)[-1]}"


def _marker(settings: Settings, name: str) -> Path:
    return settings.home.resolve() / "run" / f"migrated-{name}"


def _migrated(settings: Settings, name: str) -> bool:
    marker = _marker(settings, name)
    return marker.exists() and marker.read_text(encoding="utf-8") == _version(settings, name)


def _secret(path: Path, kind: str = "key") -> str:
    if not path.exists():
        if kind == "fernet":
            from cryptography.fernet import Fernet

            made = Fernet.generate_key().decode()
        else:
            made = secrets.token_urlsafe(12 if kind == "password" else 32)
        _write_secret(path, made)
    return path.read_text(encoding="utf-8")


def _write_secret(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(temporary, path)
