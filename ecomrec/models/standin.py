"""A linear stand-in for the user encoder: what each purchase adds to a score, without asking the encoder once for every purchase.

A user's vector is nearly linear in averages of the positions of their history at several speeds of forgetting:

    u ~ b + sum_j A_j f_j,    f_j = sum_p s_j^back(p) x_p / sum_p s_j^back(p)

x_p is the mean vector of basket p's items and back(p) how many positions it lies before the newest. A and b are a ridge regression on
what the encoder itself makes of real histories (a global surrogate, Craven & Shavlik 1996). What f_j loses when an item leaves its
basket has a closed form, also where the basket vanishes with it and the older ones move up; so `losses` is exact for the stand-in.
How faithful it is to the model is measured: benchmarks/explanations.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecomrec.models import Histories
from ecomrec.models.sequential import Baskets, baskets, means

SPEEDS = (0.4, 0.8, 1.0)  # what a position keeps with each step back
SAMPLES = 8000  # histories that it is fitted on, cut off at random places so that few users give many
HELD_OUT = 0.1  # of them say how good it is
POSITIONS = 2048  # worked on at once: 1.5 MB of float32 for each array of all speeds, and sums short enough for float32
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
    return np.concatenate([_sums(table, part)[-1] for part in _parts(given)])


def losses(fitted: StandIn, table: np.ndarray, given: Baskets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per row of `given.items`: its user, int64 [N], and what the user's vector loses when the item leaves that basket, float32 [N, d]; and
    the `averages`, which that needs anyway."""
    found = [_losses(fitted, table, part) for part in _parts(given)]
    per_user = np.diff(given.users)
    owner = np.repeat(np.repeat(np.arange(len(per_user)), per_user), np.diff(given.offsets))
    return owner, *(np.concatenate(part) for part in zip(*found, strict=True))


def _parts(given: Baskets) -> Iterator[Baskets]:
    """`given` in parts of whole users, as many as fit in the cache."""
    first = 0
    while first < len(given.users) - 1:
        last = max(first + 1, int(np.searchsorted(given.users, given.users[first] + POSITIONS, side="right")) - 1)
        low, high = given.users[first], given.users[last]
        rows = slice(int(given.offsets[low]), int(given.offsets[high]))
        yield Baskets(given.users[first:last + 1] - low, given.days[low:high], given.offsets[low:high + 1] - given.offsets[low], given.items[rows], given.weights[rows])
        first = last


def _sums(table: np.ndarray, given: Baskets) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per basket its vector [B, d], its weights s_j^back [B, J] and their product [B, J, d]; per user the sums of the weights [U, J] and of the
    products [U, J, d], and f [U, J, d]; all float32."""
    per_user, positions = np.diff(given.users), means(table, given.items.astype(np.int64), given.offsets)
    back = np.repeat(given.users[1:], per_user) - 1 - np.arange(len(given.days))
    weights = np.float32(SPEEDS)[None, :] ** back[:, None].astype(np.float32)
    weighted = weights[:, :, None] * positions[:, None, :]
    total, whole = (np.zeros((len(per_user), *part.shape[1:]), dtype=np.float32) for part in (weights, weighted))
    if (there := per_user > 0).any():
        opens = given.users[:-1][there]
        total[there], whole[there] = np.add.reduceat(weights, opens), np.add.reduceat(weighted, opens)
    return positions, weights, weighted, total, whole, whole / np.maximum(total, 1e-30)[:, :, None]


def _losses(fitted: StandIn, table: np.ndarray, given: Baskets) -> tuple[np.ndarray, np.ndarray]:
    """The losses [N, d] and the averages of one part."""
    sizes, per_user = np.diff(given.offsets), np.diff(given.users)
    positions, weights, weighted, total, whole, average = _sums(table, given)
    owner = np.repeat(np.arange(len(per_user)), per_user)
    # An item that shares its basket moves the basket's mean.
    basket = np.repeat(np.arange(len(sizes)), sizes)
    shared = sizes[basket] > 1
    result = np.empty((len(basket), len(SPEEDS), table.shape[1]), dtype=np.float32)
    at = basket[shared]
    share = weights[at] / total[owner[at]] / (sizes[at] - 1).astype(np.float32)[:, None]
    result[shared] = share[:, :, None] * (table[given.items[shared]] - positions[at])[:, None, :]
    # An item alone takes its basket away, and the older ones move up by a step.
    alone = np.flatnonzero(sizes == 1)
    if len(alone):
        user, up = owner[alone], np.float32(1) / np.float32(SPEEDS) - 1
        older, older_total = (_older(part, alone, given.users[user]) for part in (weighted, weights))
        left_total = total[user] - weights[alone] + older_total * up
        left = (whole[user] - weighted[alone] + older * up[:, None]) / np.maximum(left_total, 1e-6)[:, :, None]
        result[~shared] = average[user] - np.where((per_user[user] > 1)[:, None, None], left, 0)
    return result.reshape(len(basket), -1) @ fitted.weights, average


def _older(values: np.ndarray, at: np.ndarray, opens: np.ndarray) -> np.ndarray:
    """Sums of the rows of `values` from each user's first, `opens`, up to but without row `at`."""
    sums = np.concatenate((np.zeros_like(values[:1]), np.cumsum(values, axis=0)))
    return sums[at] - sums[opens]
