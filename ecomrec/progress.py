"""How far a training of many steps is, how fast it goes and how long it will take."""

import time
from collections.abc import Callable

EVERY_S = 5


class Progress:
    """Tells `echo` now and then: at most every EVERY_S seconds, and at the last step. `size` things named `unit` are done in a step."""

    def __init__(self, echo: Callable[[str], None], name: str, steps: int, size: int, unit: str):
        self._echo, self._name, self._steps, self._size, self._unit = echo, name, steps, size, unit
        self._began = self._told = time.monotonic()

    def __call__(self, step: int, loss, also: str = "") -> None:
        """After `step`, counted from 1. loss: a number, or a tensor that is fetched only where it is told; `also` is told at once."""
        if time.monotonic() - self._told > EVERY_S or step == self._steps or also:
            self._told, rate = time.monotonic(), step / self.seconds
            self._echo(f"{self._name}: step {step}/{self._steps}, loss {float(loss):.3f}, {rate * self._size:,.0f} {self._unit}/s, {(self._steps - step) / rate:.0f} s to go{also}")

    @property
    def seconds(self) -> float:
        """Since the first step began; never nothing."""
        return max(time.monotonic() - self._began, 1e-9)
