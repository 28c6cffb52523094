"""Benchmarks: `python -m benchmarks.<name>` measures and writes `benchmarks/results/<name>.json`, which is committed."""

import json
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # who is told to stop stops its Postgres too

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 with BF16", "avx512f": "AVX-512", "avx2": "AVX2"}


def figure(value: float, unit: str, runs: int = 1, spread: float = 0.0) -> dict:
    """One measured number. `spread`: (highest - lowest) / median over `runs` runs; 0 for a single one."""
    return {"value": round(value, 4), "unit": unit, "runs": runs, "spread": round(spread, 4)}


def machine() -> dict:
    """What the figures were measured on: cores, memory in GB, processor and its widest vector instructions, and the GPU where there is one."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    able = {flag for line in lines if line.startswith("flags") for flag in line.split()}
    found = {"cores": len(os.sched_getaffinity(0)), "memory": round(psutil.virtual_memory().total / 1e9, 1), "cpu": cpu,
             "instructions": next((name for flag, name in INSTRUCTIONS.items() if flag in able), "")}
    try:
        asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        found["gpu"] = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    return found


def described(machine: dict) -> str:
    """A machine in a line; one that was noted down before its instructions were has none."""
    able = f" ({machine['instructions']})" if machine.get("instructions") else ""
    return f"{machine['cores']} cores, {machine['cpu']}{able}, {machine['memory']} GB" + (f", {machine['gpu']}" if machine.get("gpu") else "")


def commit() -> str:
    """The commit that is measured; `+changes` when the tree differs from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results"], capture_output=True, text=True, check=True).stdout
    return head + ("+changes" if changed.strip() else "")


def merged(name: str, mine: Callable[[str], bool], cases: dict) -> dict:
    """The cases of results/<name>.json with `cases` in place of those that are `mine`: several commands may write one file, so each case says
    of which commit, date and machine it is."""
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cases": {}}
    return _stamped({key: value for key, value in before["cases"].items() if not mine(key)}, before) | _stamped(cases, {**_now(), "machine": machine()})


def write(name: str, command: str, cases: dict) -> Path:
    """Writes `benchmarks/results/<name>.json` and returns its path. Commit, date and machine are those of the cases that name none of their own."""
    content = {"command": command, **_now(), "machine": machine(), "cases": cases}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def _now() -> dict:
    return {"commit": commit(), "date": datetime.now(UTC).date().isoformat()}


def _stamped(cases: dict, made: dict) -> dict:
    """`cases`, each with the commit, date and machine of `made` if it names none; a case that is a single word has no room for them."""
    own = {"commit": made["commit"], "date": made["date"], "machine": described(made["machine"])} if cases else {}
    return {key: {**own, **case} if isinstance(case, dict) else case for key, case in cases.items()}
