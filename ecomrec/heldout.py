"""Users held out by time: what they bought on the days in question, and only what they had done before.

Every comparison of recommenders goes through here, so all are measured on the same users, histories and purchases.
"""

import numpy as np

from ecomrec import metrics
from ecomrec.dataset import Dataset
from ecomrec.models import Histories, histories

K = 10  # places of a list that are judged


def before(data: Dataset, until: int, users: np.ndarray) -> Histories:
    """What `users` did before day `until`, in the universe."""
    past = data.day < until
    return histories(data.user[past], data.item[past], data.day[past], data.time[past], data.weight[past], users, len(data.item_ids))


def held_out(data: Dataset, first: int, end: int, seed: int = 0, most: int | None = None) -> dict:
    """Users who bought something on days first … end-1 (at most `most`, drawn by `seed`), what they bought, and what they did before.

    Keys: users [U], offsets and items (as `metrics.wanted`), histories (as `ecomrec.models.Histories`), day (the last day known).
    """
    rows = (data.day >= first) & (data.day < end) & (data.weight >= 1)
    users, offsets, items = metrics.wanted(data.user[rows], data.item[rows])
    if most is not None and len(users) > most:
        drawn = np.sort(np.random.default_rng(seed).choice(users, most, replace=False))
        rows &= np.isin(data.user, drawn)
        users, offsets, items = metrics.wanted(data.user[rows], data.item[rows])
    return {"users": users, "offsets": offsets, "items": items, "histories": before(data, first, users), "day": first - 1}


def ndcg(ranked: np.ndarray, held: dict) -> float:
    """Mean NDCG@K of the lists `ranked` [U, K]; 0 without users."""
    if not len(ranked):
        return 0.0
    return round(float(metrics.per_user(ranked, held["offsets"], held["items"], K)[f"NDCG@{K}"].mean()), 5)


def quality(model, held: dict) -> float:
    """Mean NDCG@K of what `model` recommends."""
    return ndcg(model.recommend(held["histories"], held["day"], K)[0], held)
