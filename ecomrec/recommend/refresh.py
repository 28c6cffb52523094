"""A change of the catalogue on all lists, without a full run: a new publication that copies what the change does not touch.

A user is touched when a product that is gone is among their candidates or on one of their lists; they are scored again from their
history, as a full run would. Everybody else's rows are copied inside Postgres. A product that comes back, is new, or moved may
belong on anybody's list: then everybody is scored again. So they are when a new product sells out that the model has not learned: it
leaves the snapshot, where the others are numbered and compared without it. Either way the lists are those of a full run (tests/test_refresh.py).
"""

import time

import numpy as np

from ecomrec import artifact, database, profiles
from ecomrec.errors import InputError
from ecomrec.models.loading import load
from ecomrec.privacy import tombstones
from ecomrec.promotions import build as promotions
from ecomrec.publication import audit, go_live, hold, lived, open_publication, partition, prune, window
from ecomrec.recommend import catalogue as catalogues
from ecomrec.recommend import kept, rules
from ecomrec.recommend.shard import TABLES, one_thread, open_shop, score_shard, write_users
from ecomrec.registry import fetch
from ecomrec.settings import Settings

BY_NAME = 1000  # users of a shard whose histories are asked for by name; of more, all that the shard does not keep


def plan(settings: Settings, run_key: str, model_version: str, model_uri: str, items: list[str] | None = None, category: str | None = None,
         since: str | None = None, dry_run: bool = False) -> dict:
    """Opens the publication that follows the live one with the catalogue of now, and says what changed.

    Only products that are named by `items`, `category` or `since` are looked at; without any, all of them. Returns the plan of
    `open_publication` with `live`, `gone` (item ids), `other` (item ids) and `everyone`; with `dry_run` the publication is dropped again.
    """
    with database.connect(settings.shop_dsn, application="ecomrec refresh") as connection:
        found = database.query(connection, "refresh/live")
    if not found:
        raise InputError("nothing is live yet, so there is nothing to refresh", "run publish_recommendations first")
    [live] = found
    for name, mine, theirs in (("rules", rules.digest(settings), live["rules_digest"]), ("model", model_version, live["model_version"])):
        if mine != theirs:
            raise InputError(f"the {name} changed since publication {live['publication_id']}: a refresh would mix two", "run publish_recommendations, it takes the catalogue of now as well")
    made = open_publication(settings, run_key, live["day"], live["model_version"])
    with database.connect(settings.shop_dsn, application="ecomrec refresh") as connection:
        tables = {"fresh": partition("served_items", made["publication_id"]), "live": partition("served_items", live["publication_id"])}
        folder = fetch(settings, model_uri)
        narrowed = {"items": items or None, "category": category or None, "since": since or None}
        asked = [row["item_id"] for row in database.query(connection, "refresh/asked", narrowed, live=tables["live"])] if any(narrowed.values()) else None
        catalogues.snapshot(connection, settings, load(folder, settings.threads), made["publication_id"], live["day"], artifact.facts(folder),
                            asked=asked, live=live["publication_id"])
        database.execute(connection, "refresh/set_rules", {"publication_id": made["publication_id"], "digest": live["rules_digest"]})
        changed = database.query(connection, "refresh/changed", **tables)
        made["shards"] = database.query(connection, "refresh/shards", candidates=partition("user_candidates", live["publication_id"]))
        if dry_run:
            database.execute(connection, "publish/fail", {"publication_id": made["publication_id"], "audit": "{}"})
    for shard, following in zip(made["shards"], made["shards"][1:], strict=False):
        shard["next_user"] = following["first_user"]
    return {**made, "live": live["publication_id"], "gone": [row["item_id"] for row in changed if row["gone"]],
            "numbers": [row["live_number"] for row in changed if row["gone"]], "other": [row["item_id"] for row in changed if not row["gone"]],
            "everyone": any(not row["gone"] for row in changed), "model_uri": model_uri}


def refresh_shard(settings: Settings, made: dict, shard: dict) -> dict:
    """Writes the lists of a shard into the new publication; returns shard, users scored again, rows copied and seconds."""
    started = time.monotonic()
    if made["everyone"]:
        done = score_shard(settings, made, shard, made["model_uri"])
        return {"shard": shard["shard"], "scored": done["users"], "copied": 0, "seconds": done["seconds"]}
    fresh, live = ({table: partition(table, number) for table in TABLES} for number in (made["publication_id"], made["live"]))
    keys = {"publication_id": made["publication_id"], "live": made["live"], "shard": shard["shard"]}
    with one_thread(settings), database.connect(settings.shop_dsn, application=f"ecomrec refresh {shard['shard']}") as connection:
        hold(connection, made["publication_id"])
        tombstones.shield(connection)
        for table in TABLES:
            database.execute(connection, "recommend/clear_shard", keys, partition=fresh[table])
        touched = [row["user_id"] for row in database.query(connection, "refresh/touched_users", {**keys, "numbers": made["numbers"], "items": made["gone"]},
                                                            candidates=live["user_candidates"], lists=live["user_recommendations"])]
        database.execute(connection, "refresh/keep_untouched", {**keys, "users": touched}, candidates=live["user_candidates"])
        copied = kept.copy(connection, made["live"], made["publication_id"], shard["shard"])
        database.execute(connection, "recommend/clear_counts", keys)
        database.execute(connection, "refresh/copy_counts", keys)
        if touched:
            shop = open_shop(connection, settings, made, load(fetch(settings, made["model_uri"]), settings.threads))
            parameters = {**window(settings, made["day"]), **shard, "field": settings.segment_field, "users": touched}
            source = "recommend/histories_of" if len(touched) < BY_NAME else "recommend/histories"
            write_users(connection, made, shard["shard"], shop, parameters, name=source, users=np.sort(np.array(touched)))  # by code point, whatever order the database has
        for table in TABLES:
            tombstones.purge(connection, fresh[table])
    return {"shard": shard["shard"], "scored": len(touched), "copied": copied, "seconds": round(time.monotonic() - started, 2)}


def publish(settings: Settings, made: dict, reason: str = "") -> dict:
    """Profiles, promotions, audit and going live. Raises AuditFailed when another publication went live meanwhile: this one would take readers back.

    A try that was killed after it went live has only to tell it.
    """
    with database.connect(settings.shop_dsn, application="ecomrec refresh") as connection:
        done = lived(connection, made["publication_id"])
    if done:
        prune(settings)
        return done
    profiles.build(settings, made["publication_id"], made["day"])
    promotions.build(settings, made["publication_id"], made["day"])
    found = {**audit(settings, made["publication_id"], made["day"]), "refresh_of": made["live"], "reason": reason, "gone": len(made["gone"]), "other": len(made["other"])}
    live = go_live(settings, made["publication_id"], found, instead_of=made["live"])
    prune(settings)
    return live
