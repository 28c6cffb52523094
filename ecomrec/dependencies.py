"""Which versions of the packages that we lean on are installed, and a word when that changes: a model's figures may change with them."""

from collections.abc import Callable
from importlib import metadata

from psycopg2.extras import Json

from ecomrec import database
from ecomrec.settings import ROOT, Settings

LOCK = ROOT / "requirements.txt"


def watch(settings: Settings, echo: Callable[[str], None] = print) -> dict[str, str]:
    """Compares the installed packages of the lock file with those of the last training run, and records them in `ops.audit_log`.

    Returns what changed: package -> "old → new" (a package that is absent: "none"); also said aloud, as is each that differs from
    the lock file. Nothing is recorded when nothing changed.
    """
    locked = dict(line.strip().split("==") for line in LOCK.read_text(encoding="utf-8").splitlines() if "==" in line and not line.startswith("#")) if LOCK.is_file() else {}
    now = {name: version for name in sorted(locked) if (version := _installed(name))}
    with database.connect(settings.shop_dsn, application="ecomrec dependencies") as connection:
        before = next((row["packages"] for row in database.query(connection, "outcomes/dependencies")), None)
        changed = {name: f"{before.get(name, 'none')} → {now.get(name, 'none')}" for name in sorted({*before, *now}) if before.get(name) != now.get(name)} if before else {}
        if before is None or changed:
            database.execute(connection, "publish/audit_log", {"actor": "train_models", "action": "dependencies", "subject": "packages",
                                                               "detail": Json({"packages": now, "changed": changed})})
    for name, how in changed.items():
        echo(f"WARNING: {name} has changed since the last training run: {how}")
    for name, version in now.items():
        if version.partition("+")[0] != locked[name]:
            echo(f"WARNING: {name} {version} is installed, {LOCK.name} says {locked[name]}")
    return changed


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name.partition("[")[0])
    except metadata.PackageNotFoundError:
        return None
