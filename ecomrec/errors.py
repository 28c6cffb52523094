"""Errors that a person reads: what went wrong, where, and what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager


class EcomrecError(Exception):
    """An expected failure. Shown as two lines, never as a bare traceback on the command line.

    `message` names the file, row, setting or step; `remedy` says what to do next.
    """

    def __init__(self, message: str, remedy: str = ""):
        super().__init__(f"{message}\n  remedy: {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy


class SettingsError(EcomrecError):
    """A setting is missing or contradicts another one."""


class InputError(EcomrecError):
    """Input files are missing, broken or empty. Nothing that was live has changed."""


class ValidationFailed(EcomrecError):
    """Data broke a check that has severity `fail`. The data stays out of the live tables."""


class DatabaseDown(EcomrecError):
    """Postgres cannot be reached, or went away in the middle of a step."""


class AuditFailed(EcomrecError):
    """A publication or an artefact did not pass its audit. What was live stays live."""


class ErasureIncomplete(EcomrecError):
    """A person's data is still somewhere after an erasure. The tombstone stands; the erasure can be run again."""


@contextmanager
def memory_for(doing: str, remedy: str) -> Iterator[None]:
    """Where memory runs out within it, as Python, numpy or torch put it, the error says while `doing` what, and which setting asks for less."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(said in str(error).lower() for said in ("alloc", "out of memory")):
            raise
        raise EcomrecError(f"memory ran out {doing} ({(str(error).splitlines() or ['no reason given'])[0]})", remedy) from error
