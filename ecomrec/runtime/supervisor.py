"""Owns everything that `ecomrec up` starts, so that nothing outlives it.

Two processes. The *runner* holds the lock, waits for the *keeper*, and sweeps up after it however it ends. The keeper
leads a session of its own that holds all of Airflow; it starts, watches and stops the components. When the runner is
killed the keeper is told by the kernel (PR_SET_PDEATHSIG) and shuts down in order; when the keeper is killed the runner
ends its whole session and stops Postgres. If both are killed at once, the next `up` or `down` sweeps.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import psutil

from ecomrec.errors import EcomrecError
from ecomrec.processes import end_with
from ecomrec.runtime import airflow, postgres
from ecomrec.settings import Settings

STOP_SECONDS = 25
STATE = "state.json"
ENTRY = "import sys; from ecomrec.runtime.supervisor import main; sys.exit(main(*sys.argv[1:]))"


def main(role: str, parent: str) -> int:
    """Entry point of both processes. `parent`: pid whose death ends us, 0 for none."""
    settings = Settings()
    if int(parent) and not end_with(int(parent)):
        return 1
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    return run(settings) if role == "runner" else keep(settings)


def run(settings: Settings) -> int:
    """The runner: one per home."""
    folder = settings.home.resolve() / "run"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 3  # somebody else's `up` was faster; the command line follows that one
        sweep(settings)
        write_state(settings, phase="starting", runner=_identity(os.getpid()))
        keeper = subprocess.Popen([sys.executable, "-c", ENTRY, "keeper", str(os.getpid())], start_new_session=True)
        write_state(settings, keeper=_identity(keeper.pid))
        code = 1
        try:
            code = keeper.wait()
        except KeyboardInterrupt:
            keeper.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                code = keeper.wait(STOP_SECONDS + 40)
        finally:
            sweep(settings)
            if read_state(settings).get("phase") != "failed":
                write_state(settings, phase="down" if code == 0 else "failed", error=None if code == 0 else "the stack was killed")
    return code


def keep(settings: Settings) -> int:
    """The keeper: brings everything up, watches it, takes it down."""
    processes: dict[str, subprocess.Popen] = {}
    try:
        if settings.embedded_postgres:
            write_state(settings, phase="starting PostgreSQL")
            postgres.start(settings)
        write_state(settings, phase="migrating the databases")
        from ecomrec.migrations import migrate

        migrate(settings.shop_dsn)
        port = airflow.free_port(settings)
        env = airflow.environment(settings, port)
        airflow.migrate(settings, env)
        write_state(settings, phase="starting Airflow", url=env["AIRFLOW__API__BASE_URL"], port=port)
        logs = settings.home.resolve() / "logs"
        for component in airflow.COMPONENTS:
            with (logs / f"{component}.log").open("ab") as log:
                processes[component] = subprocess.Popen(airflow.command(component), env=env, cwd=settings.home.resolve(), stdin=subprocess.DEVNULL,
                                                        stdout=log, stderr=subprocess.STDOUT)
        _until_healthy(settings, processes, env["AIRFLOW__API__BASE_URL"])
        write_state(settings, phase="healthy", healthy_at=time.time())
        while True:
            _all_alive(settings, processes)
            time.sleep(1)
    except KeyboardInterrupt:
        write_state(settings, phase="stopping")
        return 0
    except Exception as error:
        write_state(settings, phase="failed", error=str(error))
        return 1
    finally:
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
        _end([found for found in _session(os.getpid()) if found.pid != os.getpid()])
        if settings.embedded_postgres:
            postgres.stop(settings)


def sweep(settings: Settings) -> None:
    """Ends what a killed keeper left: every process of its session, and the embedded Postgres."""
    keeper = read_state(settings).get("keeper")
    if keeper:
        # While a session has members its number is not given away, so a stranger under it means that none is left.
        members = [] if _stranger(keeper) else _session(keeper["pid"])
        _end([member for member in members if member.create_time() >= keeper["created"] - 1])
    if settings.embedded_postgres:
        postgres.stop(settings)


def read_state(settings: Settings) -> dict:
    """What the stack last said of itself: phase, url, error, identities."""
    try:
        return json.loads((settings.home.resolve() / "run" / STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def write_state(settings: Settings, **facts) -> None:
    """Adds facts to the state file, in one step."""
    path = settings.home.resolve() / "run" / STATE
    kept = {} if facts.get("phase") == "starting" else read_state(settings)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({**kept, **facts}, indent=1), encoding="utf-8")
    os.replace(temporary, path)


def running(settings: Settings) -> bool:
    """True while a runner of this home lives."""
    runner = read_state(settings).get("runner")
    return bool(runner and _alive(runner))


def _until_healthy(settings: Settings, processes: dict[str, subprocess.Popen], url: str) -> None:
    deadline = time.monotonic() + settings.start_timeout
    while not all((found := airflow.health(url)).values()):
        _all_alive(settings, processes)
        if time.monotonic() > deadline:
            waiting = ", ".join(name for name, healthy in found.items() if not healthy)
            raise EcomrecError(f"not healthy after {settings.start_timeout} s: {waiting}",
                               f"see the logs in {settings.home.resolve() / 'logs'}, or raise ECOMREC_START_TIMEOUT")
        time.sleep(0.5)


def _all_alive(settings: Settings, processes: dict[str, subprocess.Popen]) -> None:
    for name, process in processes.items():
        if process.poll() is not None:
            log = settings.home.resolve() / "logs" / f"{name}.log"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            raise EcomrecError(f"Airflow's {name} ended with code {process.returncode}:\n{tail}", f"see {log}; everything was stopped")
    if settings.embedded_postgres and not (settings.home.resolve() / "postgres" / "postmaster.pid").exists():
        raise EcomrecError("the embedded Postgres has stopped", f"see {settings.home.resolve() / 'postgres' / 'server.log'}; everything was stopped")


def _identity(pid: int) -> dict:
    return {"pid": pid, "created": psutil.Process(pid).create_time()}


def _alive(identity: dict) -> psutil.Process | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(identity["pid"])
        if abs(process.create_time() - identity["created"]) < 1 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _stranger(identity: dict) -> bool:
    """True when the pid has gone to another process since."""
    try:
        return abs(psutil.Process(identity["pid"]).create_time() - identity["created"]) >= 1
    except psutil.NoSuchProcess:
        return False


def _session(leader: int) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader:
                members.append(process)
    return members


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=5)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def _interrupt(number: int, frame) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough; the way down must not be cut short
    raise KeyboardInterrupt
