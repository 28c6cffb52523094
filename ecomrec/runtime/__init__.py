"""The embedded stack: PostgreSQL and Airflow under one roof, up and down as one."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ecomrec.errors import EcomrecError
from ecomrec.runtime import airflow, postgres, supervisor
from ecomrec.settings import Settings

Echo = Callable[[str], None]


def up(settings: Settings, detach: bool = True, echo: Echo = print) -> dict:
    """Brings the stack up and waits until it is healthy; does nothing when it is up already.

    Not detached, it ends with the calling process, whatever ends that. Returns `{"url", "user", "password", "started"}`.
    Raises EcomrecError with the reason and the log's last lines when it does not come up.
    """
    started = time.monotonic()
    already = supervisor.running(settings)
    if not already:
        _spawn(settings, detach)
    phase = None
    while True:
        state = supervisor.read_state(settings)
        if state.get("phase") != phase:
            phase = state.get("phase")
            if phase == "starting Airflow" and state["port"] != settings.airflow_port:
                echo(f"port {settings.airflow_port} is taken: using {state['port']}")
            if phase not in ("healthy", "failed"):
                echo(f"{phase} ...")
        if phase == "failed":
            raise EcomrecError(f"the stack did not come up: {state.get('error')}", f"logs: {settings.home.resolve() / 'logs'}")
        if phase == "healthy":
            break
        if time.monotonic() - started > settings.start_timeout + 60:
            raise EcomrecError("the stack did not come up in time", f"logs: {settings.home.resolve() / 'logs'}")
        if not supervisor.running(settings) and time.monotonic() - started > 20:
            raise EcomrecError("the stack was killed while it came up", "run the same command again")
        time.sleep(0.2)
    echo(f"already up at {state['url']}" if already else f"healthy after {time.monotonic() - started:.0f} s at {state['url']}")
    return {"url": state["url"], **airflow.login(settings), "started": not already}


def down(settings: Settings, echo: Echo = lambda line: None) -> bool:
    """Stops everything of this home, also what a killed stack left behind. Returns whether there was a running stack."""
    was = supervisor.running(settings)
    if was:
        echo("stopping Airflow and PostgreSQL ...")
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor.read_state(settings)["runner"]["pid"], signal.SIGTERM)
        deadline = time.monotonic() + 90
        while supervisor.running(settings) and time.monotonic() < deadline:
            time.sleep(0.2)
    if supervisor.read_state(settings):
        supervisor.sweep(settings)
        supervisor.write_state(settings, phase="down")
    return was


def status(settings: Settings) -> dict:
    """`{"healthy", "phase", "url", "error", "parts": {name: bool}}` as it is now."""
    state = supervisor.read_state(settings)
    parts = {"PostgreSQL": postgres.is_running(settings)} if settings.embedded_postgres else {}
    parts |= airflow.health(state.get("url", f"http://{settings.airflow_host}:{settings.airflow_port}"))
    alive = supervisor.running(settings)
    phase = state.get("phase", "down") if alive or state.get("phase") in ("down", "failed") else "down"
    return {"healthy": alive and all(parts.values()), "phase": phase, "url": state.get("url") if alive else None,
            "error": state.get("error"), "parts": parts}


def _spawn(settings: Settings, detach: bool) -> None:
    home = settings.home.resolve()
    for folder in ("run", "logs"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    state = home / "run" / supervisor.STATE
    kept = supervisor.read_state(settings)
    if kept:  # identities stay for the sweep; the old end must not be taken for the new one
        supervisor.write_state(settings, phase="waiting for the last one to end")
    log = (home / "logs" / "supervisor.log").open("ab")
    env = {**os.environ, **overrides(settings)}
    subprocess.Popen([sys.executable, "-c", supervisor.ENTRY, "runner", "0" if detach else str(os.getpid())], env=env, stdin=subprocess.DEVNULL,
                     stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    deadline = time.monotonic() + 20
    while not supervisor.running(settings) and time.monotonic() < deadline:
        time.sleep(0.05)
    if not state.exists():
        raise EcomrecError("the supervisor did not start", f"see {home / 'logs' / 'supervisor.log'}")


def overrides(settings: Settings) -> dict[str, str]:
    """These settings as environment variables, so that a child sees the same ones wherever they came from. Paths are absolute: it works in another folder."""
    found = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if name == "store_url" and value:
            value = settings.store
        elif isinstance(value, Path) or (name in ("mapping", "encoder") and value and Path(value).exists()):
            value = Path(value).resolve()
        if value is not None:
            text = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            found[f"ECOMREC_{name.upper()}"] = text
    return found
