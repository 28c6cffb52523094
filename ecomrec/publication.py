"""A publication: all tables of one run, built beside the live ones, audited, and made live in one transaction.

Its rows live in partitions of their own that are attached only when the audit has passed. `ops.publications` says which
one is live; nothing else decides.
"""

import time
from datetime import date, timedelta

import psycopg2
from psycopg2.extras import Json

from ecomrec import database
from ecomrec.errors import AuditFailed
from ecomrec.privacy import tables, tombstones
from ecomrec.settings import Settings

# Every table of a publication, `recs.<name>`, partitioned by publication_id. A new one is a migration, its name here, and
# the task that fills `partition(name, publication_id)` between open_publication and audit.
TABLES = ("user_recommendations", "user_profiles", "user_promotions", "user_candidates", "served_items", "similar_items", "bought_together", "popular_items",
          "query_categories", "query_results", "query_suggestions", "related_queries")
USER_BYTES, EVENT_BYTES = 1000, 200  # of a shard in memory, with its copies (benchmarks/recommend.py measures them together)
MUST_BE_ZERO = ("empty_lists", "duplicates", "unavailable_items", "broken_scores", "broken_results", "unavailable_results", "broken_categories")
READER_PATIENCE = 10.0  # seconds; a statement needs milliseconds from its plan to its snapshot, then it may run for hours
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"


def partition(table: str, publication_id: int) -> str:
    """Name of the partition of `recs.<table>` that holds this publication."""
    return f"recs.{table}_p{publication_id}"


def window(settings: Settings, day: str) -> dict[str, date]:
    """First and last day of the events that a publication of `day` rests on."""
    last = date.fromisoformat(day)
    return {"first_day": last - timedelta(days=settings.history_days - 1), "day": last}


def open_publication(settings: Settings, run_key: str, day: str, model_version: str) -> dict:
    """Starts (or, after a kill, starts again) the publication of this run, with empty partitions.

    Returns `{"publication_id", "day", "model_version", "shards": [{"shard", "first_user", "next_user"}]}`.
    """
    with database.connect(settings.shop_dsn, application="ecomrec publish") as connection:
        database.lock(connection, f"publication {run_key}")
        database.execute(connection, "publish/retire_key", {"run_key": run_key})
        [row] = database.query(connection, "publish/open", {"run_key": run_key, "day": day, "model_version": model_version})
        for table in TABLES:
            database.execute(connection, "publish/create_partition", row, table=f"recs.{table}", partition=partition(table, row["publication_id"]))
        cut = {"per_user": 1, "per_event": 0, "budget": settings.shard_users} if settings.shard_users else {
            "per_user": USER_BYTES, "per_event": EVENT_BYTES, "budget": settings.shard_memory_mb * 1_000_000}
        shards = database.query(connection, "publish/shards", {**window(settings, day), **cut})
    return {**row, "day": day, "model_version": model_version, "shards": shards}


def lived(connection, publication_id: int) -> dict | None:
    """What `go_live` returned, where the publication is live or was until another took its place."""
    [found] = database.query(connection, "publish/state", {"publication_id": publication_id})
    return {"publication_id": publication_id, "users": found["users"], "seconds": 0.0} if found["state"] in ("live", "superseded") else None


def hold(connection, publication_id: int) -> None:
    """For whoever writes its tables: nobody makes it live before this transaction ends.

    Raises AuditFailed when it has left the hands of its builders, as when a task in the middle of a finished run is cleared: readers would see it rewritten.
    """
    [found] = database.query(connection, "publish/state", {"publication_id": publication_id})
    if found["state"] not in ("building", "failed"):
        raise AuditFailed(f"publication {publication_id} is {found['state']} already and is not written any more",
                          "clear the run from its first task, or start a new one: it builds a new publication")


def audit(settings: Settings, publication_id: int, day: str, whole: bool = True) -> dict:
    """Counts what is wrong with the built tables. Raises AuditFailed, marking the publication failed, when it may not go live, and as `hold` does.

    `whole`: it must have every user; a shadow has not.
    """
    names = {name: partition(table, publication_id) for name, table in (("recommendations", "user_recommendations"), ("profiles", "user_profiles"),
                                                                        ("served", "served_items"))}
    mine = {partition(table, publication_id) for table in TABLES}
    with database.connect(settings.shop_dsn, application="ecomrec audit") as connection:
        hold(connection, publication_id)
        tombstones.shield(connection)
        for name in mine.intersection(tables.holding_users(settings.shop_dsn)):
            tombstones.purge(connection, name)
        [found] = database.query(connection, "publish/audit", {**window(settings, day), "list_length": settings.list_length}, **names)
        [searched] = database.query(connection, "search/audit", {}, **{table: partition(table, publication_id) for table in TABLES})
        found |= searched
        problems = [f"{name} = {found[name]:,}" for name in MUST_BE_ZERO if found[name]]
        problems += [f"{name} = {found[name]:,}, expected {found['expected_users']:,}" for name in ("users", "profiles")
                     if whole and found[name] != found["expected_users"]]
        if not found["users"]:
            problems.append("no user at all")
        if problems:
            database.execute(connection, "publish/fail", {"publication_id": publication_id, "audit": Json(found)})
        else:
            database.execute(connection, "publish/mend", {"publication_id": publication_id})
    if problems:
        raise AuditFailed(f"publication {publication_id} of {day} may not go live: {'; '.join(problems)}",
                          "what was live stays; see the score tasks' logs, mend the cause and run the DAG again")
    return found


def day_to_publish(settings: Settings, day: str) -> str:
    """`day`, or the day of what is live where that is later: a late file of last week is news for today's lists, not a reason to show last week's."""
    with database.connect(settings.shop_dsn, application="ecomrec publish") as connection:
        return max([day, *(live["day"] for live in database.query(connection, "refresh/live"))])


def go_live(settings: Settings, publication_id: int, found: dict, *, older: bool = False, instead_of: int | None = None) -> dict:
    """Attaches the partitions, lets older statements end, then moves the pointer in one transaction. Twice is once.

    Raises AuditFailed when its audit refused it; when it, or a model that made it, was rolled back meanwhile; when a later day is live, but for
    `older`; and when another publication than `instead_of` is live, where one is named.
    Attaching and moving in one transaction would not do: a reader that planned its query before and takes its snapshot
    after would follow the new pointer to a partition that is not in its plan, and see nothing (docs/decisions/0003).
    """

    def may(connection) -> None:
        for refused in database.query(connection, "publish/refused", {"publication_id": publication_id, "older": older, "instead_of": instead_of}):
            raise AuditFailed(f"publication {publication_id} may not go live: {refused['why']}", f"what is live stays; {refused['remedy']}")

    started = time.monotonic()
    partitions = {"partitions": [partition(table, publication_id) for table in TABLES]}
    with database.connect(settings.shop_dsn, application="ecomrec publish") as connection:
        database.lock(connection, "go live")
        may(connection)
        if done := lived(connection, publication_id):  # twice is once; of what was live long ago the rows are gone
            return done
        with connection.cursor() as cursor:
            cursor.execute(LOCK_TIMEOUT)
        if not database.query(connection, "publish/attached", partitions)[0]["partitions"]:
            for name in partitions["partitions"]:  # until autovacuum came by, readers' plans would be made without statistics: a look-up took ten times as long
                database.execute(connection, "housekeeping/analyze", table=name)
            for table in TABLES:
                database.execute(connection, "publish/attach_partition", {"publication_id": publication_id},
                                 table=f"recs.{table}", partition=partition(table, publication_id))
    with database.connect(settings.shop_dsn, application="ecomrec publish") as connection:
        attached_at = database.query(connection, "publish/attached", partitions)[0]["now"]
        deadline = time.monotonic() + READER_PATIENCE
        readers = {"attached_at": attached_at, "tables": [f"recs.{table}" for table in TABLES]}
        while database.query(connection, "publish/old_readers", readers) and time.monotonic() < deadline:
            time.sleep(0.01)
        database.lock(connection, "go live")
        may(connection)
        parameters = {"publication_id": publication_id, "users": found["users"], "items": found["items"], "audit": Json(found)}
        if database.execute(connection, "publish/go_live", parameters):
            database.execute(connection, "publish/audit_log", {"actor": "publish_recommendations", "action": "publish",
                                                               "subject": f"publication {publication_id}", "detail": Json(found)})
    return {"publication_id": publication_id, "users": found["users"], "seconds": round(time.monotonic() - started, 3)}


def prune(settings: Settings) -> int:
    """Drops the rows of publications that are no longer kept; returns how many. A busy reader only delays it to the next run."""
    with database.connect(settings.shop_dsn, application="ecomrec prune") as connection:
        outdated = database.query(connection, "publish/outdated", {"kept": settings.publications_kept})
    return sum(drop(settings, row["publication_id"], only_outdated=True) for row in outdated)


def drop(settings: Settings, publication_id: int, only_outdated: bool = False) -> bool:
    """Drops the rows of a publication; False when a reader was too busy with them, or with `only_outdated` when it is kept by now: a roll-back may have made it live."""
    try:
        with database.connect(settings.shop_dsn, application="ecomrec prune") as connection, connection.cursor() as cursor:
            database.lock(connection, "go live")
            if only_outdated and {"publication_id": publication_id} not in database.query(connection, "publish/outdated", {"kept": settings.publications_kept}):
                return False
            cursor.execute(LOCK_TIMEOUT)
            for table in TABLES:
                database.execute(connection, "publish/drop_partition", partition=partition(table, publication_id))
    except psycopg2.errors.LockNotAvailable:
        return False
    return True
