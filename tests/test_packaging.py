"""What a fresh clone relies on: the lock, the Makefile, the CI script, the package."""

import os
import re
import stat
import subprocess
import tomllib
from importlib.metadata import version

import pytest

from ecomrec.settings import ROOT

LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
DIRECT = [line.strip() for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "#"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_lock_pins_everything_and_names_no_host():
    pinned = [line for line in LOCK if line and not line.lstrip().startswith("#")]
    loose = [line for line in pinned if not re.fullmatch(r"[a-zA-Z0-9._-]+(\[[a-z0-9,._-]+\])?==[^ @;]+( ;.*)?", line)]
    assert not loose
    assert not [line for line in LOCK if "://" in line]


def test_lock_leaves_nvidia_to_torch():
    assert not [line for line in LOCK if re.match(r"nvidia-|cuda-|triton==", line)]
    assert sum(line.startswith("torch==") for line in LOCK) == 1


def test_lock_holds_every_direct_requirement():
    locked = {canonical(re.split(r"[\[=]", line)[0]) for line in LOCK}
    asked = {canonical(re.split(r"[\[=<>~! ]", line)[0]) for line in DIRECT}
    assert asked <= locked, asked - locked


def test_what_runs_here_is_what_the_lock_says():
    for name in ("apache-airflow", "mlflow", "great-expectations", "duckdb"):
        assert f"{name}=={version(name)}" in LOCK


def test_make_alone_lists_at_most_ten_targets():
    shown = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"make (\w+)", shown)
    assert {"demo", "test", "lint", "bench", "up", "down", "lock", "clean"} <= set(targets) and len(targets) <= 10


def test_install_takes_torch_first_and_alone():
    plan = subprocess.run(["make", "-n", "-W", "requirements.txt", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    torch = next(line for line in LOCK if line.startswith("torch=="))
    assert plan.index(f"{torch} 2>") < plan.index("-r requirements.txt") < plan.index("-e . --no-deps")
    assert plan.index("ruff check") < plan.index("-m pytest")


def test_a_python_that_is_too_old_is_named(tmp_path):
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = tmp_path / "python3.9"
    python.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo Python 3.9.1 && exit 0\nexit 1\n")
    python.chmod(0o755)
    done = subprocess.run(["make", f"PYTHON={python}", "lint"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "needs Python 3.11 or 3.12" in done.stdout and "Python 3.9.1" in done.stdout and "remedy" in done.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("edit", [None, "other"])
def test_the_second_install_is_skipped_unless_the_lock_differs(tmp_path, edit):
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("ruff", "python"):  # they only note that they were called
        (programs / name).write_text(f"#!/bin/sh\necho called {name} \"$@\"\n")
        (programs / name).chmod(0o755)
    make = ["make", "lint"]
    first = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "== install" in first and "called ruff" in first
    if edit:
        with (tmp_path / "requirements.txt").open("a") as lock:
            lock.write("one-more==1.0\n")
    os.utime(tmp_path / "requirements.txt", (4e9, 4e9))  # a checkout touches files; only their content counts
    second = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert ("== install" in second) is bool(edit)


def test_ci_runs_the_test_command():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK) and script.stat().st_mode & stat.S_IXUSR
    assert "make test" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_package():
    assert PROJECT["project"]["scripts"] == {"ecomrec": "ecomrec.cli:main"}
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.13"
    assert PROJECT["project"]["license"] == "Apache-2.0" and "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_nothing_tracked_names_a_home_folder_or_a_key():
    files = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False).stdout.split("\0")
    patterns = re.compile(rb"/(home|Users)/(?!ecomrec\b)[a-z]+/|AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY")
    for name in filter(None, files):
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 1_000_000 and path.suffix not in (".png", ".svg") and name != "tests/test_packaging.py":
            assert not patterns.search(path.read_bytes()), name
