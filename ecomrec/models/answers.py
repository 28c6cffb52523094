"""From logits to an answer that a person can use: calibrated probabilities, the leaf or its parent, or "unknown".

Temperature: Guo et al. 2017, On Calibration of Modern Neural Networks. Energy: Liu et al. 2020. Nearest neighbours: Sun et al. 2022.
"""

from dataclasses import asdict, dataclass

import numpy as np

UNKNOWN = "unknown"
DETECTORS = ("max_prob", "energy", "knn")


@dataclass(frozen=True)
class Calibration:
    """How a classifier's logits are read. Chosen on validation queries, kept in the manifest."""

    temperature: float = 1.0
    link: str = "softmax"        # softmax | sigmoid
    sure: float = 0.5            # probability from which a category is answered; below it its parent is
    detector: str = "max_prob"   # what says that a query is not of this shop
    least: float = 0.0           # familiarity below which it is not

    def facts(self) -> dict:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """`category`: a leaf, an ancestor of it, or "unknown"; `likely`: the leaves behind it with their probabilities, best first."""

    category: str
    probability: float
    likely: list[tuple[str, float]]


def probabilities(logits: np.ndarray, rules: Calibration) -> np.ndarray:
    """Float64 [N, C] of logits [N, C]."""
    scaled = logits.astype(np.float64) / rules.temperature
    if rules.link == "sigmoid":
        return 1 / (1 + np.exp(-np.clip(scaled, -60, 60)))
    shifted = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def familiarity(logits: np.ndarray, vectors: np.ndarray | None, neighbours: np.ndarray | None, detector: str) -> np.ndarray:
    """How much each query looks like this shop's, float64 [N]; larger is more. knn: mean cosine to the 3 nearest training queries."""
    if detector == "knn":
        if vectors is None or neighbours is None or not len(neighbours):
            raise ValueError("the knn detector needs vectors and neighbours")
        found = np.empty(len(vectors))
        for first in range(0, len(vectors), 512):
            cosine = vectors[first:first + 512].astype(np.float32) @ neighbours.T.astype(np.float32)
            found[first:first + 512] = np.sort(cosine, axis=1)[:, -3:].mean(axis=1)
        return found
    top = logits.max(axis=1, keepdims=True).astype(np.float64)
    total = np.exp(logits - top).sum(axis=1)
    return (top[:, 0] + np.log(total)) if detector == "energy" else 1 / total


def best(chances: np.ndarray, categories: list[str], k: int) -> tuple[list[list[str]], np.ndarray]:
    """Top `k` names and their probabilities float32 [N, min(k, C)]; ties go to the first category."""
    rows = np.argsort(-chances, axis=1, kind="stable")[:, :k]
    return [[categories[place] for place in row] for row in rows], np.take_along_axis(chances, rows, axis=1).astype(np.float32)


def answer(chances: np.ndarray, familiar: np.ndarray, categories: list[str], rules: Calibration, k: int = 3) -> list[Answer]:
    """The leaf where it is sure, else its deepest ancestor that is, else the likeliest root; "unknown" where the query is not the shop's."""
    names, tops = best(chances, categories, k)
    ancestors = {name: ["/".join(name.split("/")[:depth]) for depth in range(1, name.count("/") + 2)] for name in categories}
    answers = []
    for row, (leaves, shares) in enumerate(zip(names, tops, strict=True)):
        likely = [(name, round(float(share), 6)) for name, share in zip(leaves, shares, strict=True)]
        if familiar[row] < rules.least:
            answers.append(Answer(UNKNOWN, 0.0, likely))
            continue
        said, probability = leaves[0], float(shares[0])
        if probability < rules.sure:
            sums: dict[str, float] = {}
            for place, name in enumerate(categories):
                for above in ancestors[name]:
                    before, chance = sums.get(above, 0.0), float(chances[row, place])
                    # One of several that exclude each other, or at least one of several that do not.
                    sums[above] = before + chance if rules.link == "softmax" else 1 - (1 - before) * (1 - chance)
            enough = [name for name, total in sums.items() if total >= rules.sure]
            roots = [name for name in sums if "/" not in name]
            said = max(enough, key=lambda name: (name.count("/"), sums[name])) if enough else max(roots, key=sums.__getitem__)
            probability = min(1.0, sums[said])
        answers.append(Answer(said, round(probability, 6), likely))
    return answers
