"""Rows that keep the contract and that Postgres refuses all the same: each is set aside like any other bad row."""

from collections.abc import Callable

import psycopg2

from ecomrec import database
from ecomrec.errors import ValidationFailed
from ecomrec.ingest.files import STAYS
from ecomrec.ingest.scratch import Counts, Scratch

POISON = 100  # rows of a day that Postgres may refuse one by one before the day is given up
REFUSED = "Postgres does not take it"


def copy_good(scratch: Scratch, day: str, count: Counts, copy: Callable[[], None]) -> None:
    """Runs `copy`, one transaction that COPYs the day's good rows, again without each row that Postgres refuses. Raises ValidationFailed when these are too many."""
    while True:
        try:
            copy()
            return
        except psycopg2.DataError as error:
            line = database.copy_line(error)
            if line is None:
                raise
            scratch.refuse(day, line, f"{REFUSED}: {error.diag.message_primary}")
            count.good, count.rejected = count.good - 1, count.rejected + 1
            count.reasons[REFUSED] = count.reasons.get(REFUSED, 0) + 1
            if count.reasons[REFUSED] > POISON or not count.good:
                raise ValidationFailed(f"{day}: Postgres refused {count.reasons[REFUSED]:,} rows that keep the contract, one by one, for example: {scratch.example(day, REFUSED)}",
                                       f"mend the shop's export and run the day again; {STAYS}") from error
