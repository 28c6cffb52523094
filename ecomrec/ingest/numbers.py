"""A day in some fifty numbers, with which later days are compared (docs/decisions/0016)."""

from ecomrec import database
from ecomrec.contract import EVENT_TYPES
from ecomrec.duck import fill
from ecomrec.ingest.scratch import Scratch
from ecomrec.settings import Settings


def numbers(settings: Settings, scratch: Scratch) -> list[tuple]:
    """Rows (day, dimension, value, amount) of the events of which `transforms.make` has just made its tables, from sql/validation/statistics_events.sql."""
    with database.connect(settings.shop_dsn, application="ecomrec items") as connection:
        fill(scratch.duck, "known_items", {"item_id": "VARCHAR"}, connection, "validation/known_items")
    return scratch.duck.execute(database.text("validation/statistics_events"), {"event_types": list(EVENT_TYPES)}).fetchall()
