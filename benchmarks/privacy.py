"""Personal data in texts: recall and precision on the corpus's held-out half, and what scrubbing and pseudonyms cost a load of 5 M events."""

import statistics
import time

import duckdb

from benchmarks import figure, write
from ecomrec.privacy import pii
from ecomrec.privacy.arriving import prepare
from ecomrec.privacy.pseudonyms import Pseudonyms
from tests.privacy.corpus import HALVES, corpus

ROWS, USERS, QUERIES, RUNS = 5_000_000, 500_000, 200_000, 3


def quality(half: str) -> dict:
    """A positive counts as found only when exactly the datum became exactly its tag; whatever else changes a text is a false one."""
    cases = corpus(half)
    positives = [case for case in cases if case.positive]
    changed = [case for case in cases if pii.scrub(case.text) != case.text]
    return {"recall": figure(sum(pii.scrub(case.text) == case.clean for case in positives) / len(positives), "share"),
            "precision": figure(sum(case.positive for case in changed) / len(changed), "share"),
            "positives": figure(len(positives), "texts"), "lookalikes": figure(len(cases) - len(positives), "texts")}


def cost() -> dict:
    """Seconds that reading the same clean rows takes more, on all cores: interleaved runs, medians."""
    with duckdb.connect() as duck:
        prepare(duck, Pseudonyms((b"k" * 40,)))
        duck.execute(f"""CREATE TABLE events AS SELECT 'customer-' || (hash(n) % {USERS}) AS user_id, CASE WHEN n % 5 = 0 THEN 'running shoes '
                         || chr(97 + (n % 26)::INTEGER) || left(md5((hash(n * 7) % {QUERIES})::VARCHAR), 3) || ' size ' || (n % 60) END AS query, '{{"device": "phone", "store": "' || (n % 400) || '"}}' AS context FROM range({ROWS}) t(n)""")
        statements = {"nothing": "SELECT user_id, query, context", "scrub": "SELECT user_id, scrubbed(query) AS query, scrubbed_json(context) AS context",
                      "pseudonyms": "SELECT pseudonym(user_id) AS user_id, query, context"}
        seconds = {name: [] for name in statements}
        for _ in range(RUNS):
            for name, statement in statements.items():
                started = time.monotonic()
                duck.execute(f"CREATE OR REPLACE TABLE copy AS {statement} FROM events")
                seconds[name].append(time.monotonic() - started)
    base = statistics.median(seconds["nothing"])
    return {f"{name}_s": figure(statistics.median(times) - base, "s", RUNS, (max(times) - min(times)) / statistics.median(times))
            for name, times in seconds.items() if name != "nothing"} | {"rows": figure(ROWS, "rows"), "users": figure(USERS, "users")}


if __name__ == "__main__":
    cases = {half: quality(half) for half in HALVES} | {"cost": cost()}
    print(write("privacy", "python -m benchmarks.privacy", cases))
    print(cases)
