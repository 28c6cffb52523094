"""User profiles: set-based statements over what was bought, run by DuckDB (docs/decisions/0017), into the publication's own partition."""

import time

from ecomrec import database
from ecomrec.duck import fill, open_duck, stream
from ecomrec.privacy import tombstones
from ecomrec.publication import hold, partition, window
from ecomrec.settings import Settings

USERS = 100_000  # whose profiles are made together: memory does not grow with the shop
BOUGHT = {"user_id": "VARCHAR", "event_day": "DATE", "hour": "SMALLINT", "item_id": "VARCHAR", "price": "DOUBLE", "quantity": "DOUBLE"}
ITEMS = {"item_id": "VARCHAR", "category": "VARCHAR", "brand": "VARCHAR", "price": "DOUBLE", "deleted": "BOOLEAN"}


def build(settings: Settings, publication_id: int, day: str) -> dict:
    """Fills the profiles of a publication; a second time replaces the first. Returns users and seconds."""
    started, name = time.monotonic(), partition("user_profiles", publication_id)
    with database.connect(settings.shop_dsn, application="ecomrec profiles") as connection, open_duck(settings, settings.profile_memory) as (duck, _):
        hold(connection, publication_id)
        tombstones.shield(connection)
        database.execute(connection, "publish/clear", partition=name)
        fill(duck, "purchases", BOUGHT, connection, "profiles/bought", window(settings, day))
        fill(duck, "catalogue", ITEMS, connection, "profiles/items")
        duck.execute("CREATE TABLE asked AS SELECT ?::DATE AS day, ?::BIGINT AS publication_id", [day, publication_id])
        for step in ("numbered", "rhythm", "orders", "returns", "shared"):
            duck.execute(database.text(f"profiles/{step}"))
        query, (buyers,) = database.text("profiles/fill"), duck.execute("SELECT count(*) FROM users").fetchone()
        columns = [column for column, *_ in duck.execute(f"DESCRIBE {query}", [1, USERS]).fetchall()]
        users = sum(stream(duck, query, [first, first + USERS - 1], lambda rows: database.copy_in(connection, name, columns, rows)) for first in range(1, buyers + 1, USERS))
        users -= tombstones.purge(connection, name)
    return {"users": users, "seconds": round(time.monotonic() - started, 2)}
