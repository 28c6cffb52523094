"""How much memory the whole running system takes: proportional set size (PSS) of all its processes, sampled.

PSS counts a page that n processes share as 1/n in each (Linux, Documentation/filesystems/proc.rst, smaps_rollup), so
that the sum over forked workers is the memory they really take; the sum of RSS would count shared pages many times.
"""

import contextlib
import threading
from pathlib import Path

import psutil

EVERY_SECONDS = 2.0


def processes(home: Path) -> set[psutil.Process]:
    """Everything that runs for this home: what names the folder or has it as AIRFLOW_HOME, this process, and descendants."""
    marker = str(home.resolve())
    found = {psutil.Process()}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            named = any(marker in part for part in process.cmdline())
            if named or process.environ().get("AIRFLOW_HOME", "").startswith(marker):
                found.add(process)
    for process in list(found):
        with contextlib.suppress(psutil.Error):
            found.update(process.children(recursive=True))
    return found


def memory(home: Path) -> int:
    """Bytes of PSS that these processes take together now."""
    total = 0
    for process in processes(home):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total


class Peak:
    """Samples `memory` on a thread while the `with` block runs; `gb` is the highest sample, in 10^9 bytes."""

    def __init__(self, home: Path):
        self._home = home
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True, name="footprint")
        self.gb = 0.0

    def _sample(self) -> None:
        while not self._ended.is_set():
            self.gb = max(self.gb, memory(self._home) / 1e9)
            self._ended.wait(EVERY_SECONDS)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=10)
