"""Back to what served before: the champion, the publication, or both, in one transaction and without scoring anyone again.

The publication before is still there whole, so its pointer moves back within milliseconds (docs/decisions/0003).
"""

import time
from typing import Literal

from ecomrec import champions, database
from ecomrec.errors import EcomrecError
from ecomrec.settings import Settings

What = Literal["both", "model", "publication"]


def roll_back(settings: Settings, what: What, reason: str, *, actor: str, family: str = "recommender", request: str | None = None,
              dry_run: bool = False) -> dict:
    """Withdraws what is in service and puts what served before in its place; `ops.audit_log` keeps who, why, from and to.

    model: the champion of `family`. publication: the live one. both: the champion, and the live publication where the
    withdrawn model made it. The same `request` twice rolls back once: a task that was killed after it goes on.
    Returns `{"model": {"from", "to"} | None, "publication": {"from", "to", "day"} | None, "live_day", "seconds"}`;
    live_day: the day of what was live before.
    Raises EcomrecError, and changes nothing, when there is nothing to go back to.
    """
    started = time.monotonic()
    if len(reason.strip()) < 5:
        raise EcomrecError(f"{reason!r} is no reason", "say in a few words what is wrong: the next person will read it in ops.audit_log")
    with database.connect(settings.shop_dsn, application="ecomrec rollback") as connection:
        database.lock(connection, f"champion {family}")
        database.lock(connection, "go live")
        for row in database.query(connection, "rollback/done", {"request": request}) if request else ():
            return row["result"]
        live = next(iter(database.query(connection, "rollback/live")), None)
        result = {"live_day": live and str(live["day"]), "model": _model(connection, family, reason, actor) if what != "publication" else None,
                  "publication": _publication(connection, what) if what != "model" else None}
        if dry_run:
            connection.rollback()
            return {**result, "seconds": round(time.monotonic() - started, 3)}
        for kind, subject in (("model", family), ("publication", "publication")):
            if result[kind]:
                champions.record(connection, actor, "rollback", f"{subject}/{result[kind]['from']}",
                                 {**result[kind], "reason": reason, "what": what, **({"request": request, "result": result} if request else {})})
    return {**result, "seconds": round(time.monotonic() - started, 3)}


def _model(connection, family: str, reason: str, actor: str) -> dict:
    now, before = champions.current(connection, family), champions.previous(connection, family)
    if now is None or before is None:
        raise EcomrecError(f"no version of {family} served before {now['version'] if now else 'the first'}: nothing to go back to",
                           "roll back only the publication, or promote another version: ecomrec promote FAMILY/VERSION --reason …")
    champions.change(connection, before, f"rolled back from version {now['version']}: {reason}", actor, withdrawn=reason)
    return {"from": now["version"], "to": before["version"]}


def _publication(connection, what: What) -> dict | None:
    live = next(iter(database.query(connection, "rollback/live")), None)
    if what == "both" and (live is None or live["withdrawn_model"] is None):
        return None  # what is live was not made by the model that goes
    target = next(iter(database.query(connection, "rollback/target")), None)
    if live is None or target is None:
        raise EcomrecError("no earlier publication is kept that a sound model made: nothing to go back to",
                           "roll back only the model (--what model); the next publication will then be made by the one before. "
                           "ECOMREC_PUBLICATIONS_KEPT says how many are kept")
    database.execute(connection, "rollback/move", {"from": live["publication_id"], "to": target["publication_id"]})
    return {"from": live["publication_id"], "to": target["publication_id"], "day": str(target["day"])}
