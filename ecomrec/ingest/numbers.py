"""A day in some fifty numbers, with which later days are compared (docs/decisions/0016)."""

import tempfile

from ecomrec import database, transforms
from ecomrec.contract import EVENT_TYPES
from ecomrec.ingest.scratch import Scratch
from ecomrec.settings import Settings


def numbers(settings: Settings, scratch: Scratch, days: list[str]) -> list[tuple]:
    """Rows (day, dimension, value, amount) of the events that are to be loaded, from sql/validation/statistics_events.sql."""
    if not days:
        return []
    with database.connect(settings.shop_dsn, application="ecomrec items") as connection, tempfile.NamedTemporaryFile(dir=scratch.folder) as spool:
        database.copy_out(connection, "validation/known_items", spool)
        spool.flush()
        scratch.duck.execute("CREATE OR REPLACE TABLE known_items AS FROM read_csv(?, header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
                             "columns = {'item_id': 'VARCHAR'})", [spool.name])
    transforms.find_bots(settings, scratch.duck, scratch.events(days))
    return scratch.duck.execute(database.text("validation/statistics_events"), {"event_types": list(EVENT_TYPES)}).fetchall()
