"""Chosen on validation queries: the temperature, and what recognises a query that is not of this shop."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import rankdata

from ecomrec.models.answers import DETECTORS, Calibration, familiarity, probabilities


def temperature(logits: np.ndarray, target: np.ndarray, weight: np.ndarray, link: str) -> float:
    """The temperature with the least weighted log loss; `target` is the column of the right category, int [N]."""
    if not len(logits):
        return 1.0

    def loss(log_temperature: float) -> float:
        chances = np.clip(probabilities(logits, Calibration(temperature=float(np.exp(log_temperature)), link=link)), 1e-9, 1 - 1e-9)
        own = chances[np.arange(len(target)), target]
        if link == "sigmoid":
            return float(np.average(-np.log(own) - np.log1p(-chances).sum(axis=1) + np.log1p(-own), weights=weight))
        return float(np.average(-np.log(own), weights=weight))

    return round(float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x)), 6)


def expected_error(confidence: np.ndarray, right: np.ndarray, weight: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error, 0–1, over equal bins of confidence (Guo et al. 2017)."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(sum(abs(np.sum(weight[place == row] * (right[place == row] - confidence[place == row]))) for row in range(bins)) / weight.sum())


def error_by_chance(confidence: np.ndarray, weight: np.ndarray, bins: int = 15) -> float:
    """What `expected_error` shows on average for a perfectly calibrated model that was as confident, 0–1: few queries in a bin are never right exactly as
    often as they should be, and the measure counts that as error (Kumar et al. 2019, Verified Uncertainty Calibration).

    The mean size of each bin's normal deviate: sqrt(2 / pi) of its standard deviation.
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    variance = np.bincount(place, weight**2 * confidence * (1 - confidence), minlength=bins)
    return float(np.sqrt(2 / np.pi * variance).sum() / weight.sum())


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Chance that an in-shop query looks more familiar than an out-of-shop one; 0.5 where either is missing."""
    if not len(inside) or not len(outside):
        return 0.5
    ranks = rankdata(np.concatenate((inside, outside)))
    return float((ranks[:len(inside)].sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside)))


def detector(inside: tuple, outside: tuple, neighbours: np.ndarray | None, kept: float) -> tuple[str, float, dict[str, float]]:
    """The detector with the best AUROC, the familiarity that `kept` of the in-shop queries reach, and each one's AUROC.

    `inside` and `outside`: `(logits [N, C], vectors [N, d] or None)` of validation queries of the shop and of others.
    """
    found = {}
    for name in DETECTORS:
        if name == "knn" and neighbours is None:
            continue
        found[name] = tuple(familiarity(logits, vectors, neighbours, name) for logits, vectors in (inside, outside))
    scores = {name: round(auroc(*pair), 6) for name, pair in found.items()}
    chosen = max(scores, key=scores.__getitem__)
    return chosen, float(np.quantile(found[chosen][0], 1 - kept)) if len(found[chosen][0]) else 0.0, scores
