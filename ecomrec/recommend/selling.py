"""What sells now: it stands in a publication's model in place of what sold when that was trained.

How much each product sold on the last days is for the users of whom nothing is known, and a part of everybody's score (`trend`). A model
that is trained once a week would otherwise say for another week what sold best when it was judged.
"""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from ecomrec import database
from ecomrec.dataset import recipe
from ecomrec.models.popularity import Popularity


def count(connection, days: int, day: str) -> dict[str, float]:
    """What each product sold on the last `days` days up to and including `day`, as training counts it; nothing for 0 days."""
    if not days:
        return {}
    weights, last = recipe()["dataset"]["weights"], date.fromisoformat(day)
    given = {"first_day": last - timedelta(days=days - 1), "day": last, "event_types": list(weights), "weights": list(weights.values())}
    return {row["item_id"]: row["sold"] for row in database.query(connection, "recommend/sold", given)}


def now(model, sold: np.ndarray):
    """`model` with the popularity `sold`, float32 [its items]; as it was trained where nothing at all was sold: a hole in the logs, or a model whose
    manifest names no days, which was made before or counts all days."""
    return replace(model, **{"counts" if isinstance(model, Popularity) else "popularity": sold}) if sold.any() else model
