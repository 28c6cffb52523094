"""Finds and erases people in a whole Postgres database. Which tables there are is read from the catalogue, never listed by hand."""

from psycopg2.extras import Json

from ecomrec import database
from ecomrec.privacy.traces import Traces

TOMBSTONES = "ops.erased_users"
# Columns that hold the shop's own names of other things, which a raw id may equal by chance. Pseudonyms are looked for in them too.
OTHER_NAMES = ("item_id", "item_ids", "because", "title", "description", "category", "brand", "image_url", "currency", "attributes", "file", "event_type")


def find(dsn: str, traces: Traces) -> dict[str, int]:
    """Rows that hold a trace, by table; every table of the database is in it, the tombstones excepted."""
    found = {}
    for table in _tables(dsn):
        with database.connect(dsn, application="ecomrec search") as connection:
            found[table["name"]] = database.query(connection, "privacy/count_matches", {
                **traces.parameters, "others": [*table["others"], *OTHER_NAMES]}, table=table["name"])[0]["matches"]
    return found


def erase(dsn: str, traces: Traces, delete: bool = True) -> dict[str, dict[str, int]]:
    """Deletes the rows about the people (unless told not to) and blanks where they stand in other rows.

    Returns `{"deleted", "blanked"}` by table, of those that held any. One transaction a table, so an erasure that was killed goes on where it was.
    """
    done, found = {}, find(dsn, traces)
    for table in _tables(dsn):
        counts = {"deleted": 0, "blanked": 0}
        with database.connect(dsn, application="ecomrec erase") as connection:
            if table["kind"] == "m":
                database.execute(connection, "privacy/refresh", table=table["name"])
                continue
            if table["users"] and delete:
                counts["deleted"] = database.execute(connection, "privacy/delete_user", traces.parameters, table=table["name"])
            if found.get(table["name"], 0) > counts["deleted"]:
                counts["blanked"] = sum(_blank(connection, table["name"], column, traces, Json if column in table["jsons"] else lambda cell: cell)
                                        for column in (*table["texts"], *table["jsons"]))
        if any(counts.values()):
            done[table["name"]] = counts
    return done


def _tables(dsn: str) -> list[dict]:
    with database.connect(dsn, application="ecomrec search") as connection:
        return [table for table in database.query(connection, "privacy/tables") if table["name"] != TOMBSTONES]


def holding_users(dsn: str) -> list[str]:
    """Tables with a column `user_id`, the tombstones included."""
    with database.connect(dsn, application="ecomrec search") as connection:
        return [table["name"] for table in database.query(connection, "privacy/tables") if table["users"]]


def _blank(connection, table: str, column: str, traces: Traces, adapt) -> int:
    parameters = {**traces.parameters, "words": None} if column in OTHER_NAMES else traces.parameters
    blanked = 0
    for row in database.query(connection, "privacy/cells", parameters, table=table, column=column):
        cell = traces.blank(row["cell"])
        if cell != row["cell"]:
            blanked += database.execute(connection, "privacy/blank_cell", {**row, "cell": adapt(cell)}, table=table, column=column)
    return blanked
