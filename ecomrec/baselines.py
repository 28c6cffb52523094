"""The recommender's baselines: popularity of the last days, EASE with recency, and repeat buying alone.

Each is tuned on validation days like the candidate, then fitted anew on every day before the test days.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ecomrec import artifact
from ecomrec.dataset import Dataset
from ecomrec.heldout import K, before, held_out, ndcg, quality
from ecomrec.models import decayed_counts, ease, popularity, rank
from ecomrec.settings import Settings

Echo = Callable[[str], None]


def fit_baselines(settings: Settings, data: Dataset, folder: Path, rules: dict, echo: Echo) -> dict:
    """Fits, saves and seals both baselines under `folder`/baselines on all days before the test days. Returns EASE's hyper-parameters."""
    items, days = len(data.item_ids), rules["popularity"]["days"]
    vectors = np.load(folder / "item_vectors.npy", allow_pickle=False)
    chosen = _tune_ease(settings, data, rules, echo)
    sold = popularity.count(data.item, data.day, data.weight, data.test_from, days, items)
    everyone = before(data, data.test_from, np.arange(len(data.user_ids)))
    weights = ease.fit(ease.gram(decayed_counts(everyone, data.test_from - 1, chosen["train_half_life"], items)), chosen["lambda"])
    places = {name: folder / "baselines" / name for name in ("popularity_7d", "ease_recency")}
    popularity.save(places["popularity_7d"], data.item_ids, sold)
    ease.save(places["ease_recency"], ease.Ease(data.item_ids, weights, chosen["user_half_life"], sold))
    for (name, place), kind in zip(places.items(), ("popularity", "ease"), strict=True):
        np.save(place / "item_vectors.npy", vectors)
        artifact.write_manifest(place, kind=kind, day=data.meta["day"], items=items, baseline=name)
    return chosen


def _tune_ease(settings: Settings, data: Dataset, rules: dict, echo: Echo) -> dict:
    """EASE's penalty and half-lives that rank best on validation days, fitted on training days."""
    items, grid, best = len(data.item_ids), rules["ease"], {"valid_ndcg10": -1.0}
    held = held_out(data, data.valid_from, data.test_from, settings.seed, rules["sequential"]["max_valid_users"])
    sold = popularity.count(data.item, data.day, data.weight, data.valid_from, rules["popularity"]["days"], items)
    everyone = before(data, data.valid_from, np.arange(len(data.user_ids)))
    for train_half_life in grid["train_half_lives"]:
        product = ease.gram(decayed_counts(everyone, held["day"], train_half_life, items))
        for penalty in grid["lambdas"]:
            weights = ease.fit(product, penalty)
            for user_half_life in grid["user_half_lives"]:
                value = quality(ease.Ease(data.item_ids, weights, user_half_life, sold), held)
                if value > best["valid_ndcg10"]:
                    best = {"valid_ndcg10": value, "lambda": penalty, "train_half_life": train_half_life, "user_half_life": user_half_life}
    echo(f"EASE on validation: {best}")
    return best


def repeat_alone(held: dict, sold: np.ndarray, half_lives: list[float]) -> tuple[float, float]:
    """The half-life whose decayed counts alone rank best (popularity breaks ties), and that NDCG@10."""
    tie = sold / max(float(sold.max()), 1.0) * 1e-3
    def value(half_life: float) -> float:
        ranked, _ = rank(lambda block: decayed_counts(block, held["day"], half_life, len(sold)).toarray() + tie, held["histories"], sold, K, False)
        return ndcg(ranked, held)
    return max(((half_life, value(half_life)) for half_life in half_lives), key=lambda pair: pair[1])
