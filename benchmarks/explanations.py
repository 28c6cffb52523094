"""Is the purchase that a list names as its reason the one that really drove it?

    python -m benchmarks.explanations [--work FOLDER] [--users 400] [--seed 1]

For each of the 20 best items that a test user never bought, the model scores again without each single item of the user's history. Faithful:
the share of pairs (the named item, another of the history) in which the named one's absence lowers the score more; 0.5 is chance. Beside
ours: the likeness of text vectors that stood in before, and simply the newest purchase. Data: Amazon Beauty (leave one out) and
completejourney (by time), the recommender's default recipe; histories are those before the test part, which trains nothing here.

Models are those of `python -m benchmarks.recommender … --work FOLDER`. Replaces the cases explanations.* of results/recommend.json.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks import figure, merged, recommender_data, write
from ecomrec import dataset, recommender
from ecomrec.compression import recommender as compression
from ecomrec.dataset import TEST
from ecomrec.heldout import before, held_out
from ecomrec.models import Histories, Recommender, loading, standin
from ecomrec.recommend import explain
from ecomrec.recommend.histories import shard
from ecomrec.settings import Settings

COMMAND = "python -m benchmarks.explanations"
LENGTH, LONGEST = 20, 150  # places of a list; items of a history, each of which costs a scoring


def trained(work: Path, name: str, seed: int):
    """The data set and the served model of the default recipe."""
    data, folder, settings = work / "data" / name, work / f"{name}.{seed}", Settings(_env_file=None, home=work / "home", seed=seed)
    if not (data / "meta.json").is_file():
        recommender_data.build(settings, name, data)
    if not (folder / "manifest.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        recommender.train(settings, data, folder, lambda line: None)
        compression.compress(settings, data, folder, lambda line: None)
    found, model = dataset.load(data), loading.load(folder)
    if model.stand_in is None:  # a model of an older version
        model = replace(model, stand_in=standin.fit(model, before(found, TEST, np.unique(found.user[found.user < found.meta["users"]])), seed))
    return found, model


def without_each(given: Histories) -> tuple[np.ndarray, Histories]:
    """One user's items, int32 [n], and n histories: each without one of them."""
    own = np.unique(given.items)
    keep = given.items[None, :] != own[:, None]
    user, rows = np.nonzero(keep)
    return own, Histories(np.concatenate(([0], np.cumsum(np.bincount(user, minlength=len(own))))), given.items[rows], given.days[rows], given.times[rows], given.weights[rows])


class Alike(Recommender):
    """A model that cannot say what drove a score: likeness stands in."""


def measure(data, model, users: int, seed: int) -> dict:
    held = held_out(data, TEST)
    drawn = np.sort(np.random.default_rng(seed).choice(len(held["users"]), min(users, len(held["users"])), replace=False))
    given, day = held["histories"].take(drawn), held["day"]
    kept = np.flatnonzero([1 < len(np.unique(given.users(row, row + 1).items)) <= LONGEST for row in range(len(given))])
    given = given.take(kept)
    people, items = shard(np.arange(len(given)).astype(str), given), model.recommend(given, day, LENGTH, True)[0]
    catalogue = SimpleNamespace(known=len(model.item_ids), vectors=model.item_vectors)
    named = {"ours": explain.strongest(model, items, people, day, catalogue)[0], "likeness": explain.strongest(Alike(), items, people, day, catalogue)[0]}
    newest = given.items[given.offsets[1:] - 1]
    named["newest"] = np.where(items >= 0, newest[:, None], -1)
    tally = {name: {"pairs": 0, "won": 0, "named": 0, "lower": 0, "listed": 0} for name in named}
    for user in range(len(given)):
        own, rest = without_each(given.users(user, user + 1))
        listed = items[user][items[user] >= 0]
        lost = model.score(given.users(user, user + 1), day)[:, listed] - model.score(rest, day)[:, listed]
        for name, found in named.items():
            reasons, sums = found[user][items[user] >= 0], tally[name]
            sums["listed"] += len(listed)
            for column in np.flatnonzero(reasons >= 0):
                mine = lost[np.searchsorted(own, reasons[column]), column]
                sums["pairs"] += len(own) - 1
                sums["won"] += int((lost[:, column] < mine).sum())
                sums["lower"] += int(mine > 0)
                sums["named"] += 1
    return {"users": len(given), "r2": model.stand_in.r2, **tally}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".ecomrec/benchmark"))
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--seed", type=int, default=43)
    parser.add_argument("--try", action="store_true", help="print only")
    asked, cases = parser.parse_args(), {}
    for name in ("amazon-beauty", "completejourney"):
        found = measure(*trained(asked.work, name, asked.seed), asked.users, asked.seed)
        for how in ("ours", "likeness", "newest"):
            sums = found[how]
            cases[f"explanations.{name}.{how}"] = {
                "faithful": figure(sums["won"] / max(sums["pairs"], 1), "of pairs with another item of the history", runs=sums["pairs"]),
                "lowers_the_score": figure(sums["lower"] / max(sums["named"], 1), "of the named items"), "named": figure(sums["named"] / max(sums["listed"], 1), "of the listed items")}
        cases[f"explanations.{name}.data"] = {"users": found["users"], "seed": asked.seed, "standin_r2": round(found["r2"], 4), "split": "test"}
        print(json.dumps({key: value for key, value in cases.items() if name in key}, indent=1), flush=True)
    if not getattr(asked, "try"):
        print(write("recommend", "python -m benchmarks.recommend; " + COMMAND, merged("recommend", lambda key: key.startswith("explanations."), cases)))


if __name__ == "__main__":
    main()
