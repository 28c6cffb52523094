"""What each switch of the recommender's recipe is worth: NDCG@10 on validation with it, and without. The test part is not read.

    python -m benchmarks.recommender_switches [DATA …] [--seeds 42,43,44] [--work FOLDER]

Everything else is the default recipe, but for the searches of EASE, of which one point is enough. Two figures: the model that is served (the
blend), and the transformer with repeat buying before any blend, at its best epoch. The blend decides: what a switch gives the transformer, the
other parts may give too. Every finished part is kept in FOLDER and not done again. ECOMREC_BENCHMARK_DATA names the folder of the public sets.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks import figure, merged, write
from benchmarks.recommender import one_point, prepared, texts_kept
from ecomrec import dataset, recommender
from ecomrec.errors import InputError
from ecomrec.settings import Settings

COMMAND = "python -m benchmarks.recommender_switches"
DATA = ("completejourney", "online-retail")
SWITCHES = {"default": {}, "adversarial_0.1": {"adversarial": 0.1}, "adversarial_0.5": {"adversarial": 0.5}, "label_smoothing_0.1": {"label_smoothing": 0.1},
            "no_identity_dropout": {"identity_dropout": 0.0}, "no_dropout": {"dropout": 0.0}, "no_weight_decay": {"weight_decay": 0.0}, "two_blocks": {"blocks": 2}}


def rules_with(changes: dict) -> dict:
    """The default recipe with these values of [sequential] for every split, and one point of each search that is not its own."""
    rules = one_point(recommender.recipe())
    rules["sequential"].update(changes)
    rules["sequential"]["by_user"].update(changes)
    return rules


def one(settings: Settings, folder: Path, changes: dict, out: Path) -> dict:
    """A training; validation NDCG@10 of its blend and of its transformer's best epoch, and seconds an epoch."""
    place = out.with_suffix(out.suffix + ".json")
    if not place.is_file():
        out.mkdir(parents=True, exist_ok=True)
        with texts_kept(folder):
            done = recommender.train(settings, folder, out, lambda line: print(f"{out.name}: {line}", flush=True), rules_with(changes))
        place.write_text(json.dumps({"valid_ndcg10": done["valid_ndcg10"], "transformer": max(done["curve"]), "epoch_s": done["fit_s"] / len(done["curve"])}))
    return json.loads(place.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=list(DATA))
    parser.add_argument("--seeds", default="42,43,44")
    parser.add_argument("--work", type=Path, default=Path(".ecomrec/benchmark"))
    asked = parser.parse_args()
    cases = {}
    for name in asked.data:
        settings = Settings(_env_file=None, home=asked.work / "home")
        try:
            folder = prepared(settings, name, asked.work)
        except InputError as error:
            print(f"{name} is left out: {error}")
            continue
        seeds, plain = [int(seed) for seed in asked.seeds.split(",")], None
        for switch, changes in SWITCHES.items():
            runs = [one(settings.model_copy(update={"seed": seed}), folder, changes, asked.work / f"{name}.{switch}.{seed}") for seed in seeds]
            values, alone = (np.array([run[key] for run in runs]) for key in ("valid_ndcg10", "transformer"))
            plain = (values.mean(), alone.mean()) if plain is None else plain
            cases[f"{name}.{switch}"] = {**figure(float(values.mean()), "NDCG@10 of the blend, validation", runs=len(seeds), spread=float((values.max() - values.min()) / values.mean())),
                                         "over_default": round(float(values.mean() / plain[0]), 4), "transformer": round(float(alone.mean()), 4),
                                         "transformer_over_default": round(float(alone.mean() / plain[1]), 4), "seeds": asked.seeds, "users": dataset.load(folder).meta["users"]}
            print(f"{name}.{switch}: {values.mean():.4f}, {values.mean() / plain[0]:.3f} of the default", flush=True)
    print(write("recommender_switches", COMMAND, merged("recommender_switches", cases.__contains__, cases)))


if __name__ == "__main__":
    main()
