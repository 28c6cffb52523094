"""Whom to show a promotion: ours against a response model, the shop's own choice, chance, and everybody. Real campaigns, mailings and redemptions.

    python -m benchmarks.promotions [seed, default 42]

completejourney: models learn from the campaigns that were over before 1 October 2017; those that began later are the test, and each policy
contacts as many households in each campaign as the shop did. What a policy brings is estimated from the mailings that were sent: incremental
spending on covered products within 28 days by the doubly robust pseudo-outcomes of the test campaigns (ecomrec/promotions/uplift.py), and redemptions by inverse
propensity. Both assume that what was known of a household explains who was mailed; mailings were not drawn by lot. Intervals: 95 %, 500 resamples
of households. Nothing was chosen on the test campaigns. `captured` needs no such assumption: of the households that were mailed,
the share of all redemptions among the three tenths that a policy puts first.
"""

import sys
from datetime import date, timedelta

import duckdb
import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks import figure, write
from ecomrec.promotions import offers, pairs, uplift
from ecomrec.replay import completejourney

COMMAND = "python -m benchmarks.promotions"
TEST_FROM, LAST = date(2017, 10, 1), date(2017, 12, 31)
FIRST_TENTHS, RESAMPLES = 0.3, 500


def tables(duck) -> list[offers.Promotion]:
    """Makes bought, contacts and covered as `pairs` reads them; returns the campaigns. A mailing is dated to its campaign's first day, as the set names none."""
    completejourney.days(duck, "2017-01-01", "2017-12-31", None)
    folder = completejourney.folder()
    duck.execute(f"""
        CREATE TABLE campaigns AS SELECT CAST(campaign_id AS VARCHAR) AS campaign, start_date::DATE AS first, end_date::DATE AS last
            FROM read_parquet('{folder / "campaign_descriptions.parquet"}') WHERE start_date::DATE >= DATE '2017-02-01' ORDER BY start_date, campaign_id;
        CREATE TABLE sales AS SELECT CAST(household_id AS VARCHAR) AS user_id, dt AS event_day, CAST(product_id AS VARCHAR) AS item_id, sales_value AS paid, NULL::VARCHAR AS campaign FROM bought;
        CREATE TABLE redemptions AS SELECT CAST(household_id AS VARCHAR) AS user_id, redemption_date::DATE AS event_day, NULL::VARCHAR AS item_id, 0.0 AS paid,
               CAST(campaign_id AS VARCHAR) AS campaign FROM read_parquet('{folder / "coupon_redemptions.parquet"}');
        DROP TABLE bought;
        CREATE TABLE bought AS FROM sales UNION ALL FROM redemptions;
        CREATE TABLE contacts AS SELECT CAST(household_id AS VARCHAR) AS user_id, first AS event_day, campaign
            FROM read_parquet('{folder / "campaigns.parquet"}') m JOIN campaigns c ON c.campaign = CAST(m.campaign_id AS VARCHAR);
        CREATE TABLE covered AS SELECT DISTINCT (row_number - 1)::INTEGER AS number, CAST(product_id AS VARCHAR) AS item_id
            FROM read_parquet('{folder / "coupons.parquet"}') k JOIN (SELECT campaign, row_number() OVER (ORDER BY first, campaign) AS row_number FROM campaigns) c
            ON c.campaign = CAST(k.campaign_id AS VARCHAR)""")
    return [offers.Promotion(id=name, title=f"campaign {name}", first=first, last=last, item=["covered"])
            for name, first, last in duck.execute("SELECT campaign, first, last FROM campaigns ORDER BY first, campaign").fetchall()]


def pairs_of(duck, promotions: list[offers.Promotion], wanted) -> pairs.Pairs:
    chosen = [number for number, promotion in enumerate(promotions) if wanted(promotion)]
    return pairs.of(duck, promotions, [promotions[number].first for number in chosen], chosen)


def first_of_each(score: np.ndarray, found: pairs.Pairs) -> np.ndarray:
    """bool [P]: of each promotion the highest scores, as many as were contacted."""
    taken = np.zeros(len(found), dtype=bool)
    for promotion in np.unique(found.promotions):
        rows = np.flatnonzero(found.promotions == promotion)
        taken[rows[np.argsort(-score[rows], kind="stable")[:int(found.contacted[rows].sum())]]] = True
    return taken


def worth(taken: np.ndarray, gains: np.ndarray, redemptions: np.ndarray, propensity: np.ndarray, contacted: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Incremental spending and redemptions a contact of a policy; `weights` [P]: how often each pair's household was drawn."""
    mine = weights * taken
    sent = mine * contacted / propensity
    return float((mine * gains).sum() / mine.sum()), float((sent * redemptions).sum() / max(sent.sum(), 1e-9))


def captured(score: np.ndarray, found: pairs.Pairs) -> float:
    """Share of the redemptions of those who were contacted that the first FIRST_TENTHS of them by score hold."""
    rows = np.flatnonzero(found.contacted)
    first = rows[np.argsort(-score[rows], kind="stable")[:int(FIRST_TENTHS * len(rows))]]
    return float(found.redeemed[first].sum() / found.redeemed[rows].sum())


def main(seed: int) -> None:
    """Measures and writes results/promotions.json."""
    duck, random = duckdb.connect(), np.random.default_rng(seed)
    promotions = tables(duck)
    learned = uplift.fit(pairs_of(duck, promotions, lambda one: one.first + timedelta(days=pairs.HORIZON) <= TEST_FROM), seed)
    found = pairs_of(duck, promotions, lambda one: one.first >= TEST_FROM and one.first + timedelta(days=pairs.HORIZON - 5) <= LAST)
    redeem, gain = learned.predict(found)
    gains = uplift.pseudo_outcomes(found, seed)
    propensity = np.clip(uplift.propensities(found, seed), uplift.CLIP, 1)
    scores = {"ours": gain, "response_model": redeem, "random": random.random(len(found)), "affinity": found.features[:, uplift.COVERED_SHARE].astype(float)}
    policies = {name: first_of_each(score, found) for name, score in scores.items()} | {"shop": found.contacted, "everyone": np.ones(len(found), dtype=bool)}
    households, place = np.unique(found.users, return_inverse=True)
    draws = [np.bincount(random.integers(0, len(households), len(households)), minlength=len(households))[place] for _ in range(RESAMPLES)]
    cases = {"campaigns": figure(len(np.unique(found.promotions)), "test campaigns"), "pairs": figure(len(found), "households x campaigns"), "contacts": figure(int(found.contacted.sum()), "mailings of the shop"),
             "redeemed": figure(int((found.contacted & found.redeemed).sum()), "mailings that were redeemed"), "learned_contacts": figure(learned.contacts, "mailings before the test"),
             "redeem_auc": figure(roc_auc_score(found.redeemed[found.contacted], redeem[found.contacted]), "AUC of the response model among the mailed")}
    base = None
    for name, taken in policies.items():
        spent, redeemed = worth(taken, gains, found.redeemed, propensity, found.contacted, np.ones(len(found)))
        again = np.array([worth(taken, gains, found.redeemed, propensity, found.contacted, draw) for draw in draws])
        low, high = np.percentile(again, [2.5, 97.5], axis=0)
        base = again if name == "ours" else base
        cases[f"{name}.incremental_spend"] = {**figure(spent, "money a contact, doubly robust"), "low": round(float(low[0]), 3), "high": round(float(high[0]), 3)}
        cases[f"{name}.redemptions"] = {**figure(redeemed, "redemptions a contact, inverse propensity"), "low": round(float(low[1]), 4), "high": round(float(high[1]), 4)}
        if name != "ours":
            behind = np.percentile(base - again, [2.5, 97.5], axis=0)
            cases[f"ours_over_{name}"] = {**figure(float((base - again).mean(axis=0)[0]), "money a contact more"), "low": round(float(behind[0, 0]), 3), "high": round(float(behind[1, 0]), 3)}
        if name in scores:
            cases[f"{name}.captured"] = figure(captured(scores[name], found), f"of the redemptions, in the first {FIRST_TENTHS:.0%} of the mailed")
    for name, case in cases.items():
        print(f"{name}: {case['value']} {case['unit']}" + (f" ({case['low']} to {case['high']})" if "low" in case else ""))
    print(write("promotions", f"{COMMAND} {seed}", cases))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 42)
