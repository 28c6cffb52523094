"""Re-keys the stored pseudonyms after the key has been changed (docs/decisions/0020 says why this needs no raw ids)."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from psycopg2.extras import Json

from ecomrec import database
from ecomrec.artifact import seal_again
from ecomrec.errors import SettingsError
from ecomrec.privacy import files, pseudonyms, tables
from ecomrec.privacy.tombstones import BARRIER
from ecomrec.settings import Settings
from ecomrec.store import open_store

Echo = Callable[[str], None]
SCRATCH = ("work", "models")  # files made from the tables, where old pseudonyms are of no more use


def rotate(settings: Settings, actor: str, echo: Echo = print) -> dict:
    """Brings the stored ids to the newest key of the chain. Returns `{"tables", "rows", "files", "seconds"}`.

    The embedded system makes the new key itself; elsewhere ECOMREC_USER_KEY has been set to old,new. One transaction: readers
    see all old ids or all new ones, and a rotation that was killed is run again. Ids that were stored raw become pseudonyms.
    """
    started = time.monotonic()
    if settings.user_ids == "pseudonyms":
        raise SettingsError("ECOMREC_USER_IDS=pseudonyms: the ids are the shop's own, there is no key to change", "rotate it where the shop makes them")
    with database.connect(settings.shop_dsn, application="ecomrec rotate key") as connection:
        stored = pseudonyms.remembered(connection)
    keys = pseudonyms.of(settings)
    if stored in (keys.fingerprint(), None):
        if settings.user_key is not None:
            raise SettingsError("ECOMREC_USER_KEY names no new key", "append one to it, old,new, everywhere where ecomrec runs; then run this again")
        pseudonyms.add_key(settings)
        keys = pseudonyms.of(settings)
    known = next((count for count in range(len(keys.keys)) if keys.fingerprint(count) == (stored or keys.fingerprint(0))), None)
    if known is None:
        raise SettingsError("the keys do not begin with those that the database's user ids were made with", "set ECOMREC_USER_KEY to all keys so far, oldest first, and the new one last")
    blanked = _blank_files(settings, echo)
    rows = {}
    with database.connect(settings.shop_dsn, application="ecomrec rotate key") as connection:
        database.lock(connection, BARRIER)
        for table in tables.holding_users(settings.shop_dsn):
            for key in keys.keys[known:]:
                inner, outer = pseudonyms.pads(key)
                rows[table] = database.execute(connection, "privacy/rekey", {"inner": inner, "outer": outer}, table=table)
            echo(f"{table}: {rows[table]:,} rows")
        database.execute(connection, "privacy/change_key", {"fingerprint": keys.fingerprint(), "keys": len(keys.keys)})
        database.execute(connection, "publish/audit_log", {"actor": actor, "action": "rotate key", "subject": f"key {len(keys.keys)}", "detail": Json(rows)})
    return {"tables": len(rows), "rows": sum(rows.values()), "files": blanked, "seconds": round(time.monotonic() - started, 1)}


def _blank_files(settings: Settings, echo: Echo) -> int:
    store, blanked = open_store(settings), []
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as folder:
        keys = [key for place in SCRATCH for key, _ in store.list(place)]
        for key in keys:
            target = Path(folder) / "blank"
            if key.endswith(".parquet") and files.blank_pseudonyms(store.fetch(key, Path(folder)), target):
                store.put(target, key)
                blanked.append(key)
        seal_again(store, keys, blanked)
    echo(f"{len(blanked)} files: pseudonyms blanked")
    return len(blanked)
