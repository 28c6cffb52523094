"""What became of what was published: each day's purchases held against the lists that were made before it."""

from collections.abc import Callable
from datetime import date

from psycopg2.extras import Json

from ecomrec import artifact, database, registry
from ecomrec.settings import Settings

FALLEN = 0.8     # of the usual share of hit users; below it somebody should look
FEW_USERS = 100  # a day with fewer buyers who have a list says nothing
FEW_VERSIONS = 5  # fewer versions that served for a week correlate by chance
OLD_DAYS = 30    # age of a champion's newest day of learning beyond which it should be trained anew


def watch(settings: Settings, day: str, echo: Callable[[str], None] = print) -> dict:
    """Records the day's outcome in `ops.outcomes` (twice is once) and says aloud what is out of the ordinary.

    Returns `{"hit_rate", "usual", "users", "model_age_days", "agreement", "warnings"}`; agreement: correlation of the gates' figures
    with the outcomes over the versions that served; rates are None when nobody with an earlier list bought anything.
    """
    with database.connect(settings.shop_dsn, application="ecomrec outcomes") as connection:
        database.execute(connection, "outcomes/record", {"day": day})
        found = next(iter(database.query(connection, "outcomes/of_day", {"day": day})), None)
        [agreement] = database.query(connection, "outcomes/agreement")
    champion, age, warnings = registry.champion(settings, "recommender"), None, []
    if champion and (learned := artifact.read_manifest(registry.fetch(settings, champion["uri"])).get("day")):
        age = (date.fromisoformat(day) - date.fromisoformat(learned)).days
        if age > OLD_DAYS:
            warnings.append(f"the recommender in service learned from days up to {learned}, {age} days ago: run train_models")
    if found and found["usual"] and found["users"] >= FEW_USERS and found["hit_rate"] < FALLEN * found["usual"]:
        warnings.append(f"only {found['hit_rate']:.1%} of {day}'s {found['users']:,} buyers bought something of their list, usually {found['usual']:.1%} "
                        f"({found['model_version']}): see analytics.outcomes; `ecomrec rollback` brings the publication or model of before back")
    if agreement["versions"] >= FEW_VERSIONS and (agreement["correlation"] or 0) < 0:
        warnings.append(f"over {agreement['versions']} versions that served, a better figure before the gates went with fewer hits (correlation "
                        f"{agreement['correlation']:.2f}): the gates look at the wrong thing, see analytics.offline_online")
    for warning in warnings:
        echo(f"WARNING: {warning}")
    with database.connect(settings.shop_dsn, application="ecomrec outcomes") as connection:
        for warning in warnings:
            database.execute(connection, "publish/audit_log", {"actor": "publish_recommendations", "action": "warn", "subject": f"outcomes {day}", "detail": Json({"warning": warning})})
    return {"hit_rate": found and found["hit_rate"], "usual": found and found["usual"], "users": found["users"] if found else 0, "model_age_days": age,
            "agreement": agreement["correlation"], "warnings": warnings}
