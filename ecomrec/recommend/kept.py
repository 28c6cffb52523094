"""Users about whom nothing is new keep their lists of the live publication: a day costs what its active users cost, not all of them.

A user's lists are kept when the same model, rules and settings made them within the last ECOMREC_RESCORE_DAYS days, the user did nothing
since, no purchase has left the window, no day was loaded late, and nothing that the lists were chosen from changed in the catalogue. What
such lists miss until they are made again: new products, what sells now, and that tastes fade with time. 0 days, the default, keeps nobody's.
"""

from datetime import date, timedelta

from ecomrec import database
from ecomrec.publication import partition, window
from ecomrec.recommend.rules import Rules
from ecomrec.settings import Settings

TABLES = (("recommend/keep_lists", "user_recommendations"), ("recommend/keep_candidates", "user_candidates"))


def source(connection, settings: Settings, plan: dict, rules: Rules, digest: str) -> int | None:
    """The publication whose lists may be kept, or None when all must be made again."""
    found = database.query(connection, "refresh/live") if settings.rescore_days else []
    for live in found:
        before, day = date.fromisoformat(live["day"]), date.fromisoformat(plan["day"])
        same = (live["model_version"], live["rules_digest"]) == (plan["model_version"], digest)
        in_force = [rule.holds(before) for rule in rules.rules] == [rule.holds(day) for rule in rules.rules]
        if same and in_force and before <= day and not database.query(connection, "recommend/late_days", {"since": day - timedelta(days=settings.rescore_days), "day": before}):
            return live["publication_id"]
    return None


def keep(connection, settings: Settings, plan: dict, shard: dict, rules: Rules) -> int:
    """Makes the table `kept` of the shard's users who keep their lists, and copies their rows; returns how many they are."""
    source_id, mine = plan.get("keep_from"), plan["publication_id"]
    if not source_id:
        database.execute(connection, "recommend/keep_nobody")
        return 0
    days = window(settings, plan["day"])
    priced = any(match.price_from is not None or match.price_to is not None
                 for match in [*rules.rules, *rules.repeat, *(rule.when_bought for rule in rules.rules if rule.when_bought)])
    names = {"live_items": partition("served_items", source_id), "items": partition("served_items", mine),
             "candidates": partition("user_candidates", source_id), "lists": partition("user_recommendations", source_id)}
    database.execute(connection, "recommend/keep", {**days, **shard, "since": days["day"] - timedelta(days=settings.rescore_days), "history": settings.history_days, "priced": priced}, **names)
    copy(connection, source_id, mine, shard["shard"])
    return database.query(connection, "recommend/kept")[0]["users"]


def copy(connection, live: int, fresh: int, shard: int) -> int:
    """Copies the rows of the users in the table `kept` from one publication into shard `shard` of another; returns how many."""
    return sum(database.execute(connection, name, {"publication_id": fresh, "shard": shard}, fresh=partition(table, fresh), live=partition(table, live))
               for name, table in TABLES)
