"""The model that a publication serves: as it was trained, but with what sells now in place of what sold then.

How much each product sold on the last days is for the users of whom nothing is known, and a part of everybody's score (`trend`). A model
that is trained once a week would otherwise say for another week what sold best when it was judged.
"""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from ecomrec import artifact, database
from ecomrec.dataset import recipe
from ecomrec.models import popularity
from ecomrec.models.loading import load as load_model
from ecomrec.registry import fetch
from ecomrec.settings import Settings


def load(connection, settings: Settings, model_uri: str, day: str):
    """The model at `model_uri`, its popularity counted anew over as many days up to and including `day` as its manifest says.

    Where nothing at all was bought on those days, and for a model that does not say (made before, or counting all days), it stays as it was trained.
    """
    folder = fetch(settings, model_uri)
    model = load_model(folder, settings.threads)
    days = artifact.facts(folder).get("popularity_days", 0)
    if not days:
        return model
    weights, last = recipe()["dataset"]["weights"], date.fromisoformat(day)
    given = {"first_day": last - timedelta(days=days - 1), "day": last, "event_types": list(weights), "weights": list(weights.values())}
    sold, found = np.zeros(len(model.item_ids), dtype=np.float32), database.query(connection, "recommend/sold", given)
    place = {item: number for number, item in enumerate(model.item_ids.tolist())}
    for row in found:
        if row["item_id"] in place:
            sold[place[row["item_id"]]] = row["sold"]
    if not sold.any():
        return model
    return replace(model, **{"counts" if isinstance(model, popularity.Popularity) else "popularity": sold})
