"""Small hand-made shops for tests of SQL: rows in, straight into the core tables."""

from datetime import UTC, date, datetime, timedelta

import numpy as np

from ecomrec.database import connect

# What loading the catalogue would have written beside core.items.
HISTORY = """INSERT INTO core.item_history (item_id, valid_from, title, category, brand, price, in_stock, deleted)
             SELECT item_id, loaded_day, title, category, brand, price, in_stock, deleted FROM core.items ON CONFLICT DO NOTHING"""


def purchase(user: str, item: str, day: str, *, price: float = 1.0, quantity: float = 1, hour: int = 12, kind: str = "purchase") -> tuple:
    """One event as a row of core.events."""
    when = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC) + timedelta(hours=hour)
    return (day, f"{user}-{item}-{day}-{hour}-{kind}", when, user, f"{user}-{day}", kind, item, price, quantity)


def fill(dsn: str, items: list[tuple], events: list[tuple]) -> None:
    """`items`: (item_id, title, category, brand, in_stock, deleted); `events`: rows of `purchase`. Makes the day partitions."""
    with connect(dsn) as connection, connection.cursor() as cursor:
        for item_id, title, category, brand, in_stock, deleted in items:
            cursor.execute("INSERT INTO core.items (item_id, title, category, brand, in_stock, deleted, updated_at, loaded_day) "
                           "VALUES (%s, %s, %s, %s, %s, %s, '2017-01-01', '2017-01-01')", (item_id, title, category, brand, in_stock, deleted))
        cursor.execute(HISTORY)
        for day in sorted({event[0] for event in events}):
            cursor.execute(f"CREATE TABLE core.events_{day.replace('-', '')} PARTITION OF core.events FOR VALUES FROM (%s) TO (%s)",
                           (day, date.fromisoformat(day) + timedelta(days=1)))
        cursor.executemany("INSERT INTO core.events (event_day, event_id, event_time, user_id, session_id, event_type, item_id, price, quantity) "
                           "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", events)


def arrive(dsn: str, *names: str, title: str | None = None, category: str = "CORNER") -> None:
    """Products that came long after the shop's first day; their title is their name unless another is given."""
    with connect(dsn) as connection, connection.cursor() as cursor:
        for name in names:
            cursor.execute("INSERT INTO core.items (item_id, title, category, updated_at, loaded_day) VALUES (%s, %s, %s, '2017-03-19', '2017-03-19')", (name, title or name, category))
        cursor.execute(HISTORY)


def like(known: int, **titles: int):
    """What encodes new products in ecomrec.recommend.catalogue: each title -> the one of the `known` learned products that it says the same as."""
    return lambda texts, settings, encoder: np.eye(known, dtype=np.float32)[[titles[text.split(".")[0]] for text in texts]]


def rows(dsn: str, statement: str, *parameters) -> list[tuple]:
    """All rows of one query."""
    with connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()
