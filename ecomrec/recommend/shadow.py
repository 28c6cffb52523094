"""A shadow publication: the lists of some hundred users by a model that does not serve yet, written and audited as if they went live."""

from psycopg2.extras import Json

from ecomrec import database, publication
from ecomrec.recommend import shard
from ecomrec.settings import Settings

USERS = 500


def publish(settings: Settings, run: str, day: str, served: dict) -> dict:
    """Writes and audits the shadow of `served` (a registered recommender) for the first users of `day`, and drops its rows.

    Returns `{"publication_id", "users", "overlap", "first_scores"}`; overlap: mean share of the live first ten that stays, None when
    nothing is live. Raises AuditFailed when such lists may not go live; the publication then stays on record as failed.
    """
    small = settings.model_copy(update={"shard_users": USERS})
    plan = publication.open_publication(small, f"shadow of {run}", day, f"recommender/{served['version']} ({served['kind']})")
    number = plan["publication_id"]
    if not plan["shards"]:
        publication.drop(settings, number)
        return {"publication_id": number, "users": 0, "overlap": None, "first_scores": None}
    try:
        shard.prepare(small, plan, served["uri"])
        shard.score_shard(small, plan, plan["shards"][0], served["uri"])
        found = publication.audit(small, number, day, whole=False)
        with database.connect(settings.shop_dsn, application="ecomrec shadow") as connection:
            [compared] = database.query(connection, "publish/compare", {}, recommendations=publication.partition("user_recommendations", number))
            found |= compared
            database.execute(connection, "publish/shadow", {"publication_id": number, "audit": Json(found)})
    finally:
        publication.drop(settings, number)
    return {"publication_id": number, "users": found["users"], "overlap": found["overlap"], "first_scores": found["first_scores"]}
