"""A linear stand-in for the user encoder: what each purchase adds to a score, without asking the encoder once for every purchase.

A user's vector is nearly linear in averages of the positions of their history at several speeds of forgetting:

    u ~ b + sum_j A_j f_j,    f_j = sum_p s_j^back(p) x_p / sum_p s_j^back(p)

x_p is the mean vector of basket p's items and back(p) how many positions it lies before the newest. A and b are a ridge regression on
what the encoder itself makes of real histories (a global surrogate, Craven & Shavlik 1996). What f_j loses when an item leaves its
basket has a closed form, also where the basket vanishes with it and the older ones move up; so `losses` is exact for the stand-in.
How faithful it is to the model is measured: benchmarks/explanations.py.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecomrec.models import Histories, kernels
from ecomrec.models.sequential import Baskets, baskets

SPEEDS = (0.4, 0.8, 1.0)  # what a position keeps with each step back
SAMPLES = 8000  # histories that it is fitted on, cut off at random places so that few users give many
HELD_OUT = 0.1  # of them say how good it is
FILE = "standin.npz"


@dataclass(frozen=True)
class StandIn:
    weights: np.ndarray  # float32 [J d, d]
    start: np.ndarray    # float32 [d]
    r2: float            # share of the variance of unseen users' vectors that it explains

    def save(self, folder: Path) -> None:
        np.savez(folder / FILE, weights=self.weights, start=self.start, r2=np.float64(self.r2))


def load(folder: Path) -> StandIn | None:
    """The stand-in beside a model; None for a version made before there was one."""
    if not (folder / FILE).is_file():
        return None
    with np.load(folder / FILE, allow_pickle=False) as data:
        return StandIn(data["weights"], data["start"], float(data["r2"]))


def fit(model, given: Histories, seed: int) -> StandIn:
    """The stand-in of a `serving.Sequential`, from histories of its items (any, the more alike those to explain the better)."""
    random = np.random.default_rng(seed)
    bought = np.flatnonzero(np.diff(given.offsets))
    dim = model.table.shape[1]
    if not len(bought):
        return StandIn(np.zeros((len(SPEEDS) * dim, dim), dtype=np.float32), np.zeros(dim, dtype=np.float32), 0.0)
    drawn = bought if len(bought) >= SAMPLES else random.choice(bought, SAMPLES)
    given = cut(given, random.permutation(drawn)[:SAMPLES], random)
    wanted = model.vectors(given).astype(np.float64)
    found = averages(model.table, baskets(given.offsets, given.items, given.days, given.weights, model.max_baskets, model.by_event)).reshape(len(given), -1).astype(np.float64)
    fitted = np.arange(len(given)) >= HELD_OUT * len(given)
    centre, target = found[fitted].mean(axis=0), wanted[fitted].mean(axis=0)
    gram, cross = (found[fitted] - centre).T @ (found[fitted] - centre), (found[fitted] - centre).T @ (wanted[fitted] - target)
    best = (-np.inf, None, None)
    for strength in (1e-4, 1e-3, 1e-2, 1e-1):
        weights = np.linalg.solve(gram + (strength * np.trace(gram) / len(gram) + 1e-9) * np.eye(len(gram)), cross)
        rest = wanted[~fitted] - target - (found[~fitted] - centre) @ weights
        r2 = 1 - rest.var() / max(wanted[~fitted].var(axis=0).mean(), 1e-12) if len(rest) else 0.0
        best = max(best, (r2, strength, weights), key=lambda one: one[0])
    r2, _, weights = best
    return StandIn(weights.astype(np.float32), (target - centre @ weights).astype(np.float32), float(r2))


def cut(given: Histories, users: np.ndarray, random: np.random.Generator) -> Histories:
    """The beginnings of these users' histories, each up to a random row."""
    sizes = np.minimum(1 + (random.random(len(users)) * np.diff(given.offsets)[users]).astype(np.int64), np.diff(given.offsets)[users])
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    rows = np.repeat(given.offsets[users] - offsets[:-1], sizes) + np.arange(offsets[-1])
    return Histories(offsets, given.items[rows], given.days[rows], given.times[rows], given.weights[rows])


def averages(table: np.ndarray, given: Baskets) -> np.ndarray:
    """f, float32 [U, J, d]; zeros for a user without baskets."""
    return _kernel(table, given, np.empty((len(given.users) - 1, 0), dtype=np.int32))[1]


def losses(fitted: StandIn, table: np.ndarray, given: Baskets, owned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each user's vector loses without each of the items `owned` int32 [U, n] (-1: none) in their baskets, float32 [U, n, d]; and the user's
    vector itself as the stand-in has it, [U, d]."""
    lost, found = _kernel(table, given, owned)
    return (lost.reshape(*owned.shape, -1) @ fitted.weights), found.reshape(len(owned), -1) @ fitted.weights + fitted.start


def _kernel(table: np.ndarray, given: Baskets, owned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return kernels.losses(table, given.users, given.offsets, given.items, np.float32(SPEEDS), len(table), np.ascontiguousarray(owned, dtype=np.int32))
