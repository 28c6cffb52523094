"""Errors that a person reads: what went wrong, where, and what to do about it."""


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
