"""Where the seconds of a load go."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread


class Stages:
    """Seconds of each stage of one load, for ops.loads; entering a stage again adds to it."""

    def __init__(self):
        self._started = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a `with` block."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0) + time.monotonic() - began, 3)

    def elapsed(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self._started


def warm_up() -> Thread:
    """Imports Great Expectations, which takes seconds, while the files are parsed. Returns the thread."""
    def bring() -> None:
        from ecomrec import validation

        validation.library()

    thread = Thread(target=bring, name="warm up", daemon=True)
    if "great_expectations" not in sys.modules:
        thread.start()
    return thread
