"""One score, step by step: what each part of the model in service says of one product for one user, and on which purchases it rests."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from ecomrec import artifact, champions, database
from ecomrec.errors import EcomrecError
from ecomrec.models import Histories, loading, serving
from ecomrec.recommend import scores as scoring
from ecomrec.recommend import selling
from ecomrec.recommend.histories import EPOCH, read
from ecomrec.registry import fetch
from ecomrec.settings import Settings

STRONGEST = 5  # purchases that are named


def why(settings: Settings, user: str, item: str, day: str) -> dict:
    """What the champion makes of `item` for `user` (the id as it is stored) by what they had bought up to and including `day`.

    Returns `{"model", "purchases", "rank" (1 = best of all items), "score", "parts": {name: share of the score}, "rests_on": [{"item_id",
    "bought", "days_ago", "adds"}]}`; adds: what the score would lose without those purchases. The parts add up to the score; a model
    that has none, or a user without purchases, gets {"whole": score}.
    Raises EcomrecError when there is no champion, or it does not know the item.
    """
    served = champions.champion(settings, "recommender")
    if served is None:
        raise EcomrecError("no recommender is in service", "run the DAG train_models")
    folder = fetch(settings, served["uri"])
    model = loading.load(folder, settings.threads)
    found = np.flatnonzero(model.item_ids == item)
    if not len(found):
        raise EcomrecError(f"{item!r} is none of the {len(model.item_ids):,} items that version {served['version']} learned",
                           "a newer product's score is the mean of those of the products that its text is nearest to (docs/decisions/0042)")
    place, last = int(found[0]), date.fromisoformat(day)
    parameters = {"first_day": last - timedelta(days=settings.history_days - 1), "day": last, "users": [user]}
    with database.connect(settings.shop_dsn, application="ecomrec why") as connection:
        person = read(connection, parameters, model.item_ids, name="recommend/histories_of", users=np.array([user]))
        sold = selling.count(connection, artifact.facts(folder).get("popularity_days", 0), day)
    model = selling.now(model, np.array([sold.get(name, 0) for name in model.item_ids.tolist()], dtype=np.float32))
    given = person.read
    number = (last - EPOCH).days

    def score(histories: Histories, using=model) -> np.ndarray:
        return scoring.score(using, histories, number)[0]

    scores = score(given)
    result = {"model": f"recommender/{served['version']} ({served['kind']})", "purchases": len(person.histories.items), "rank": int((scores > scores[place]).sum()) + 1,
              "score": float(scores[place]), "parts": {"whole": float(scores[place])}, "rests_on": []}
    if isinstance(model, serving.Sequential) and len(given.items):
        # Parts by taking one after the other away, the last first: what is left at each step adds up to the whole.
        steps = [("trend", replace(model, trend=0.0)), ("repeat", replace(model, trend=0.0, repeat=0.0)), ("item-item", replace(model, trend=0.0, repeat=0.0, blend=0.0))]
        left, parts = scores[place], {}
        for name, without in steps:
            rest = score(given, without)[place]
            parts[name], left = float(left - rest), rest
        result["parts"] = {"transformer": float(left), **parts}
    adds = []
    for bought in np.unique(given.items):
        rows = given.items == bought
        kept = Histories(np.array([0, int((~rows).sum())]), given.items[~rows], given.days[~rows], given.times[~rows], given.weights[~rows])
        adds.append({"item_id": str(model.item_ids[bought]), "bought": int(rows.sum()), "days_ago": int(number - given.days[rows].max()),
                     "adds": float(scores[place] - score(kept)[place])})
    result["rests_on"] = sorted(adds, key=lambda row: -abs(row["adds"]))[:STRONGEST]
    return result
