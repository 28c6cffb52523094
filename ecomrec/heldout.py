"""Users held out: what they bought in a part of the split, and only what they had done before.

Every comparison of recommenders goes through here, so all are measured on the same users, histories and purchases.
"""

import numpy as np

from ecomrec import metrics
from ecomrec.dataset import SIDE, TWINS, VALID, Dataset
from ecomrec.models import Histories, histories, popularity

K = 10  # places of a list that are judged
LISTS = "lists.npz"  # beside a model: what it and its baselines recommend to the test users, int32 [U, K] each, in the order of evaluation.parquet


def before(data: Dataset, part: int, users: np.ndarray) -> Histories:
    """What `users` did in the parts before `part`, in the universe."""
    past = data.part < part
    return histories(data.user[past], data.item[past], data.day[past], data.time[past], data.weight[past], users, len(data.item_ids))


def known_until(data: Dataset, part: int) -> int:
    """The last day that is known when `part` begins."""
    return data.end if data.by_user else (data.valid_from if part == VALID else data.test_from) - 1


def popularity_days(data: Dataset, days: int) -> int:
    """Days that `popular` counts, of `days` that the recipe names; 0: all."""
    return 0 if data.by_user else days


def popular(data: Dataset, part: int, days: int) -> np.ndarray:
    """Purchases of each item on the last `days` days before `part`; split by user, on all days. float32 [I]."""
    past, last = data.part < part, known_until(data, part)
    return popularity.count(data.item[past], data.day[past], data.weight[past], last + 1, popularity_days(data, days) or 10**6, len(data.item_ids))


def held_out(data: Dataset, part: int, seed: int = 0, most: int | None = None) -> dict:
    """Users who bought something in `part` (at most `most`, drawn by `seed`), what they bought, and what they did before.

    Keys: users [U], offsets and items (as `metrics.wanted`), histories (as `ecomrec.models.Histories`), day (the last day
    known), exclude (whether what was bought before is left out of the lists; where the shop does so, buying it again is no hit that could be had, and is not
    asked for).
    """
    rows = (data.part == part) & (data.weight >= 1) & (data.user < data.meta["users"])
    if data.exclude_bought and not data.by_user:
        past = (data.part < part) & (data.weight >= 1) & np.isin(data.user, np.unique(data.user[rows]))
        asked, owned = (data.user[some].astype(np.int64) * (int(data.item.max(initial=0)) + 1) + data.item[some] for some in (rows, past))
        rows[rows] = ~np.isin(asked, owned)
    users, offsets, items = metrics.wanted(data.user[rows], data.item[rows])
    if most is not None and len(users) > most:
        drawn = np.sort(np.random.default_rng(seed).choice(users, most, replace=False))
        rows &= np.isin(data.user, drawn)
        users, offsets, items = metrics.wanted(data.user[rows], data.item[rows])
    return {"users": users, "offsets": offsets, "items": items, "histories": before(data, part, users), "day": known_until(data, part),
            "exclude": data.exclude_bought}


def some(held: dict, rows: np.ndarray) -> tuple[Histories, np.ndarray, np.ndarray]:
    """Histories, offsets and items of the users at the places `rows` (ascending) of what `held_out` gave."""
    if len(rows) == len(held["users"]):
        return held["histories"], held["offsets"], held["items"]
    sizes = np.diff(held["offsets"])
    inside = np.zeros(len(sizes), dtype=bool)
    inside[rows] = True
    return held["histories"].take(rows), np.concatenate(([0], np.cumsum(sizes[rows]))), held["items"][np.repeat(inside, sizes)]


def decoys(data: Dataset) -> dict | None:
    """One decoy of each group, as `held_out` gives users: its first items are its history, the others what it will buy. None without decoys."""
    rows = np.flatnonzero(data.user >= data.meta["users"])
    if not len(rows):
        return None
    rows = rows.reshape(-1, TWINS, 2 * SIDE)[:, 0]
    users, shown, hidden = data.user[rows[:, 0]], rows[:, :SIDE].ravel(), np.sort(data.item[rows[:, SIDE:]], axis=1)
    given = Histories(np.arange(len(users) + 1) * SIDE, data.item[shown], data.day[shown], data.time[shown], data.weight[shown])
    return {"users": users, "offsets": np.arange(len(users) + 1) * SIDE, "items": hidden.ravel(), "histories": given, "day": data.test_from, "exclude": False}


def ndcg(ranked: np.ndarray, held: dict) -> float:
    """Mean NDCG@K of the lists `ranked` [U, K]; 0 without users."""
    if not len(ranked):
        return 0.0
    return round(float(metrics.per_user(ranked, held["offsets"], held["items"], K)[f"NDCG@{K}"].mean()), 5)


def quality(model, held: dict) -> float:
    """Mean NDCG@K of what `model` recommends."""
    return ndcg(model.recommend(held["histories"], held["day"], K, held["exclude"])[0], held)
