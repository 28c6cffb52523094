"""What a contact is worth: how likely the user redeems, and how much more they spend on what the promotion covers than they would have anyway.

The second is a doubly robust learner (Kennedy 2023, "Towards optimal doubly robust estimation of heterogeneous causal effects"): with e the
probability of having been contacted, m1 and m0 what was spent with and without, T contacted or not and Y what was really spent,

    pseudo-outcome = m1 - m0 + (T - e) / (e (1 - e)) * (Y - m_T),

regressed on the pair's numbers. Nuisances are fitted on one half of the users and applied to the other (cross-fitting). It is
right if either e or m is, and if nothing but the pair's numbers decided who was contacted: where a shop picks by what its logs do not say,
it is an estimate with that bias. Shops that contact some users at random have none.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from ecomrec.promotions.pairs import FEATURES, Pairs

CLIP = 0.02      # propensities nearer to 0 or 1 are moved here: no pair counts more than fifty-fold
TOP = 99.5       # percentile that spending is cut off at: a party's bill says nothing about a coupon
LEAST = (200, 20)  # contacts and redemptions below which nothing is learned
COVERED_SHARE = FEATURES.index("covered_share")


@dataclass(frozen=True)
class Uplift:
    """Learned from past promotions. Without models (too little to learn from) it ranks by affinity, see `basis`."""

    redeem: object        # classifier of FEATURES, None
    gain: object          # regressor of FEATURES, None
    rate: float           # share of past contacts that were redeemed
    basis: str            # "uplift", or "affinity": how much of what the user buys is covered
    contacts: int
    redemptions: int

    def predict(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """How likely each user redeems when contacted, float64 [P], and how much more they then spend, [P] in money; by affinity the second is
        the share of their spending that is covered."""
        if not len(pairs):
            return np.zeros(0), np.zeros(0)
        if self.basis == "affinity":
            return np.full(len(pairs), self.rate), np.expm1(pairs.features[:, COVERED_SHARE].astype(np.float64)) / 100
        return self.redeem.predict_proba(pairs.features)[:, 1], self.gain.predict(pairs.features)


def fit(pairs: Pairs, seed: int) -> Uplift:
    """From the pairs of past promotions."""
    contacts, redemptions = int(pairs.contacted.sum()), int((pairs.contacted & pairs.redeemed).sum())
    rate = (redemptions + 1) / (contacts + 20)  # one in twenty where nothing is known
    if contacts < LEAST[0] or redemptions < LEAST[1] or (~pairs.contacted).sum() < LEAST[0]:
        return Uplift(None, None, rate, "affinity", contacts, redemptions)
    gain = _regressor(seed).fit(pairs.features, pseudo_outcomes(pairs, seed))
    redeem = _classifier(seed).fit(pairs.features[pairs.contacted], pairs.redeemed[pairs.contacted])
    return Uplift(redeem, gain, rate, "uplift", contacts, redemptions)


def pseudo_outcomes(pairs: Pairs, seed: int) -> np.ndarray:
    """Unbiased, noisy values of what a contact adds to each pair's spending, float64 [P]."""
    spent, propensities_of, found = np.minimum(pairs.spent, np.percentile(pairs.spent, TOP)), propensities(pairs, seed), np.empty(len(pairs))
    for fitted, applied in _halves(pairs, seed):
        treated, features, propensity = pairs.contacted[fitted], pairs.features[fitted], np.clip(propensities_of[applied], CLIP, 1 - CLIP)
        without, with_it = (_regressor(seed).fit(features[treated == got], spent[fitted][treated == got]).predict(pairs.features[applied]) for got in (False, True))
        contacted = pairs.contacted[applied]
        expected = np.where(contacted, with_it, without)
        found[applied] = with_it - without + (contacted - propensity) / (propensity * (1 - propensity)) * (spent[applied] - expected)
    return found


def propensities(pairs: Pairs, seed: int) -> np.ndarray:
    """How likely each pair was to be contacted, by what is known of it, float64 [P]; a user's own contacts have no part in it."""
    found = np.empty(len(pairs))
    for fitted, applied in _halves(pairs, seed):
        found[applied] = _classifier(seed).fit(pairs.features[fitted], pairs.contacted[fitted]).predict_proba(pairs.features[applied])[:, 1]
    return found


def _halves(pairs: Pairs, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The users in two halves: what is fitted on, what it is applied to, bool [P] each, both ways round."""
    half = np.array([crc32(f"{seed}/{user}".encode()) % 2 for user in pairs.users.tolist()])
    return [(half != fold, half == fold) for fold in (0, 1)]


def _classifier(seed: int):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=100, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=40, l2_regularization=1.0, random_state=seed)


def _regressor(seed: int):
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(max_iter=60, learning_rate=0.05, max_leaf_nodes=6, min_samples_leaf=200, l2_regularization=10.0, random_state=seed)
