"""A person puts a version in service: the same rules as in `train_models`, and nothing that they do goes unrecorded."""

from ecomrec import artifact, database, registry
from ecomrec.errors import AuditFailed, EcomrecError
from ecomrec.families import FAMILIES
from ecomrec.settings import Settings


def named(name: str) -> tuple[str, str]:
    """Family and version of `family/version`. Raises EcomrecError when it is not of that form."""
    family, _, version = name.partition("/")
    if family not in FAMILIES or not version.isdigit():
        raise EcomrecError(f"{name!r} names no model version", f"write it as FAMILY/VERSION, for example recommender/7; families: {', '.join(FAMILIES)}")
    return family, version


def promote_by_hand(settings: Settings, name: str, reason: str, actor: str, *, override: bool = False, withdrawn_too: bool = False) -> dict:
    """Puts `name` (family/version) in service. Returns what `ecomrec.champions.promote` returns.

    Raises AuditFailed when gates refuse it or never judged it (unless `override`), when it was rolled back (unless
    `withdrawn_too`), and when its files are not whole (always).
    """
    family, version = named(name)
    if len(reason.strip()) < 5:
        raise EcomrecError(f"{reason!r} is no reason", "say in a few words why: the next person will read it in ops.audit_log")
    with database.connect(settings.shop_dsn, application="ecomrec promote") as connection:
        judged = database.query(connection, "gates/of_version", {"family": family, "version": version})
    found = registry.find(settings, family, version)
    artifact.read_manifest(registry.fetch(settings, found["uri"]))
    refusing = [row["gate"] for row in judged if row["refuses"]]
    if not override and (refusing or not judged):
        raise AuditFailed(f"{name} was {'refused by ' + ', '.join(refusing) if judged else 'never judged'}; what is in service stays",
                          f"see `ecomrec gates {name}`; --override promotes it all the same, and the audit log will say so")
    if refusing or not judged:
        reason = f"{reason} (overriding {', '.join(refusing) or 'the lack of a verdict'})"
    return registry.promote(settings, found, reason, actor, withdrawn_too=withdrawn_too)
