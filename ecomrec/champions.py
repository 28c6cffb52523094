"""The model in service of each family: one row of `ops.champions` without an end. Nothing else decides.

The registry (`ecomrec.registry`, MLflow) holds every version; its aliases are a copy of what stands here.
"""

from psycopg2.extras import Json

from ecomrec import database
from ecomrec.errors import AuditFailed
from ecomrec.settings import Settings


def champion(settings: Settings, family: str) -> dict | None:
    """`{"family", "version", "uri", "kind", "reason"}` of the version in service, or None before the first promotion."""
    with database.connect(settings.shop_dsn, application="ecomrec champion") as connection:
        return current(connection, family)


def current(connection, family: str) -> dict | None:
    """The same on an open connection."""
    return next(iter(database.query(connection, "champions/current", {"family": family})), None)


def previous(connection, family: str) -> dict | None:
    """The version that served before the present one and was not rolled back; None when there is none."""
    return next(iter(database.query(connection, "champions/previous", {"family": family})), None)


def promote(settings: Settings, version: dict, reason: str, actor: str, *, withdrawn_too: bool = False) -> dict:
    """Puts `version` (as `ecomrec.registry.register` returns it) in service: one transaction, with who, why, from and to.

    Twice is once. Returns `{"family", "version", "from"}`. Raises AuditFailed when the version was rolled back, unless
    `withdrawn_too`: a cleared task of an old run must not bring a bad model back.
    """
    family = version["family"]
    with database.connect(settings.shop_dsn, application="ecomrec promote") as connection:
        database.lock(connection, f"champion {family}")
        before = current(connection, family)
        if before and before["version"] == version["version"]:
            return {"family": family, "version": version["version"], "from": None}
        for found in database.query(connection, "champions/withdrawn", version):
            if not withdrawn_too:
                raise AuditFailed(f"{family} version {version['version']} was rolled back on {found['until']:%Y-%m-%d %H:%M}: {found['withdrawn']}",
                                  f"what is in service stays. If the reason is gone: ecomrec promote {family}/{version['version']} --withdrawn-too --reason …")
            database.execute(connection, "champions/reinstate", version)
        change(connection, version, reason, actor)
        record(connection, actor, "promote", f"{family}/{version['version']}", {"from": before and before["version"], "to": version["version"], "reason": reason})
    return {"family": family, "version": version["version"], "from": before and before["version"]}


def change(connection, version: dict, reason: str, actor: str, withdrawn: str | None = None) -> None:
    """Ends the present term, saying why when it is `withdrawn`, and begins the one of `version`. The caller holds the lock `champion <family>`."""
    database.execute(connection, "champions/end_term", {"family": version["family"], "withdrawn": withdrawn})
    database.execute(connection, "champions/begin_term", {**version, "reason": reason, "actor": actor})


def record(connection, actor: str, action: str, subject: str, detail: dict) -> None:
    """A row of `ops.audit_log`."""
    database.execute(connection, "publish/audit_log", {"actor": actor, "action": action, "subject": subject, "detail": Json(detail)})
