"""User profiles: set-based statements over what was bought, into the publication's own partition."""

import time

from ecomrec import database
from ecomrec.privacy import tombstones
from ecomrec.publication import partition, window
from ecomrec.settings import Settings


def build(settings: Settings, publication_id: int, day: str) -> dict:
    """Fills the profiles of a publication; a second time replaces the first. Returns users and seconds."""
    started = time.monotonic()
    name = partition("user_profiles", publication_id)
    with database.connect(settings.shop_dsn, application="ecomrec profiles") as connection:
        tombstones.shield(connection)
        database.execute(connection, "publish/clear", partition=name)
        days = window(settings, day)
        for step in ("profiles/orders", "profiles/returns"):
            database.execute(connection, step, days)
        users = database.execute(connection, "profiles/fill", {**days, "publication_id": publication_id}, partition=name)
        users -= tombstones.purge(connection, name)
    return {"users": users, "seconds": round(time.monotonic() - started, 2)}
