"""The recommender's baselines: what sold lately, the user's own frequency, item-kNN, implicit ALS and EASE, each with recency.

Each is tuned on validation over its grid in the recipe (that of implicit ALS, which is dear to fit and decides nothing, has one point but for recency), then fitted
anew on everything before the test part. A grid is a section of
the recipe whose values are lists; a model generator yields `(choices, model)` for every combination, dear parts fitted once.
"""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
from scipy import sparse

from ecomrec import artifact
from ecomrec.dataset import TEST, VALID, Dataset
from ecomrec.heldout import before, held_out, known_until, popular, popularity_days, quality
from ecomrec.models import Recency, als, decayed_counts, ease, frequency, itemitem, popularity, words
from ecomrec.settings import Settings

Echo = Callable[[str], None]
Models = Iterator[tuple[dict, object]]


def fit_baselines(settings: Settings, data: Dataset, folder: Path, rules: dict, ease_choices: dict, encoder: str, echo: Echo) -> dict:
    """Fits, saves and seals all baselines under `folder`/baselines on all before the test part. Returns the choices of each.

    encoder: the name of what made `folder`/item_vectors.npy, for their manifests: each of them may serve.
    """
    sold = popular(data, TEST, rules["popularity"]["days"])
    own, knn, factored = (tune(settings, data, rules, models(data, VALID, rules, rules[name]))[0]
                          for name, models in (("frequency", frequencies), ("item_knn", neighbours), ("als", factorisations)))
    chosen = {"popularity_7d": {}, "frequency": own, "item_knn": knn, "als": factored, "ease_recency": ease_choices}
    fitted = {"popularity_7d": popularity.Popularity(data.item_ids, sold), "frequency": only(frequencies(data, TEST, rules, grid(own))),
              "item_knn": only(neighbours(data, TEST, rules, grid(knn))), "als": only(factorisations(data, TEST, rules, grid(factored))),
              "ease_recency": only(eases(data, TEST, rules, grid(ease_choices)))}
    vectors = np.load(folder / "item_vectors.npy", allow_pickle=False)
    for name, model in fitted.items():
        place = folder / "baselines" / name
        kind = type(model).__module__.rpartition(".")[2]  # the module that saves it is the manifest's kind
        {"popularity": popularity, "frequency": frequency, "itemitem": itemitem, "als": als}[kind].save(place, model)
        np.save(place / "item_vectors.npy", vectors)
        artifact.write_manifest(place, kind=kind, day=data.meta["day"], popularity_days=popularity_days(data, rules["popularity"]["days"]), items=len(data.item_ids), encoder=encoder, baseline=name)
        echo(f"{name}: {chosen[name]}")
    return chosen


def tune(settings: Settings, data: Dataset, rules: dict, models: Models) -> tuple[dict, object]:
    """The choices of the model that ranks best on validation, with its `valid_ndcg10`, and that model."""
    held, best, kept = held_out(data, VALID, settings.seed, rules["sequential"]["max_valid_users"]), {"valid_ndcg10": -1.0}, None
    for choices, model in models:
        value = quality(model, held)
        if value > best["valid_ndcg10"]:
            best, kept = {**choices, "valid_ndcg10": value}, model
    return best, kept


def repeat_alone(held: dict, sold: np.ndarray, half_lives: list[float]) -> tuple[float, float]:
    """The half-life whose decayed counts alone rank best (popularity breaks ties), and that NDCG@10."""
    ids = np.arange(len(sold))
    return max(((half_life, quality(frequency.Frequency(ids, half_life, sold), held)) for half_life in half_lives), key=lambda pair: pair[1])


def grid(choices: dict) -> dict:
    """A grid of these choices alone."""
    return {name: [value] for name, value in choices.items()}


def only(models: Models) -> object:
    """The model of a grid of one."""
    (_, model), = models
    return model


def recencies(data: Dataset, section: dict) -> Iterator[tuple[dict, Recency]]:
    """Every way to fade a user's past that the grid names; a half-life of 0 days is none."""
    for half_life, step in product(section["half_life"], section["step"]):
        yield {"half_life": half_life, "step": step}, Recency(half_life or np.inf, step, data.by_user)


def rows(data: Dataset, part: int, half_life: float) -> sparse.csr_matrix:
    """Training rows [U, I]: what each user did before `part`, faded; a half-life of 0 takes each item once, whenever it was."""
    given = before(data, part, np.arange(len(data.user_ids)))
    found = decayed_counts(given, known_until(data, part), half_life or np.inf, len(data.item_ids))
    if not half_life:
        found.data = np.minimum(found.data, 1)
    return found


def frequencies(data: Dataset, part: int, rules: dict, section: dict) -> Models:
    sold = popular(data, part, rules["popularity"]["days"])
    for half_life in section["half_life"]:
        yield {"half_life": half_life}, frequency.Frequency(data.item_ids, half_life, sold)


def neighbours(data: Dataset, part: int, rules: dict, section: dict) -> Models:
    sold = popular(data, part, rules["popularity"]["days"])
    for train_half_life, size, shrink in product(section["train_half_life"], section["neighbours"], section["shrink"]):
        weights = itemitem.knn(rows(data, part, train_half_life), size, shrink)
        for choices, recency in recencies(data, section):
            yield ({"train_half_life": train_half_life, "neighbours": size, "shrink": shrink, **choices},
                   itemitem.ItemItem(data.item_ids, weights, recency, sold))


def factorisations(data: Dataset, part: int, rules: dict, section: dict) -> Models:
    sold = popular(data, part, rules["popularity"]["days"])
    for train_half_life, factors, alpha, regularization in product(section["train_half_life"], section["factors"], section["alpha"], section["regularization"]):
        fitted = als.fit(rows(data, part, train_half_life), factors, alpha, regularization, rules["limits"]["als_iterations"], seed=1)
        for choices, recency in recencies(data, section):
            yield ({"train_half_life": train_half_life, "factors": factors, "alpha": alpha, "regularization": regularization, **choices},
                   als.Als(data.item_ids, fitted, alpha, regularization, recency, sold))


def eases(data: Dataset, part: int, rules: dict, section: dict) -> Models:
    """Exact where items² fits (recipe: exact_items); else each item is regressed on its neighbours. With `words`, see models/words.py."""
    limits, sold = rules["limits"], popular(data, part, rules["popularity"]["days"])
    exact = len(data.item_ids) <= limits["exact_items"]
    worded = [weight for weight in section.get("words", [0.0]) if weight]
    described = words.features(data.texts, 1.0 if exact else limits["word_share"]) if worded else None
    for train_half_life, weight in product(section["train_half_life"], section.get("words", [0.0])):
        past = rows(data, part, train_half_life)
        # The weight is in units of an item's mean square of purchases, so that one grid serves shops of any size.
        scale = np.float32(np.sqrt(weight * past.power(2).sum() / max(len(data.item_ids), 1)))
        together = sparse.vstack((past, scale * described.T)).tocsr() if weight else past
        shared = ease.gram(together) if exact else sparse.csr_matrix(together.T @ together)
        for penalty in section["lambda"]:
            weights = ease.fit(shared, penalty) if exact else ease.fit_sparse(shared, penalty, limits["neighbours"])
            if exact and weight:  # the candidate's own part is kept small; the baseline is EASE as published
                weights = itemitem.prune(weights, limits["weights"])
            for choices, recency in recencies(data, section):
                yield ({"train_half_life": train_half_life, "words": weight, "lambda": penalty, **choices},
                       itemitem.ItemItem(data.item_ids, weights, recency, sold))
