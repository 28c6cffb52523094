"""What each switch of the recommender's recipe is worth: NDCG@10 on validation with it, and without. The test part is not read.

    python -m benchmarks.recommender_switches [DATA …] [--seeds 42,43,44] [--work FOLDER]

Everything else is the default recipe without FGM (`adversarial`), which is a switch here too, and with one point of each search of EASE:
the figure is the transformer's own, at its best epoch, before any blend. Every finished part is kept in FOLDER and not done again. ECOMREC_BENCHMARK_DATA names the folder of the public sets.
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
DATA = ("amazon-beauty", "online-retail")
SWITCHES = {"plain": {}, "adversarial_0.1": {"adversarial": 0.1}, "adversarial_0.5": {"adversarial": 0.5}, "label_smoothing_0.1": {"label_smoothing": 0.1},
            "no_identity_dropout": {"identity_dropout": 0.0}, "no_dropout": {"dropout": 0.0}, "no_weight_decay": {"weight_decay": 0.0}, "two_blocks": {"blocks": 2}}


def rules_with(changes: dict) -> dict:
    """The default recipe without FGM, with these values of [sequential] for every split, and one point of each search that is not its own."""
    rules, changes = one_point(recommender.recipe()), {"adversarial": 0.0, **changes}
    rules["sequential"].update(changes)
    rules["sequential"]["by_user"].update(changes)
    return rules


def one(settings: Settings, folder: Path, changes: dict, out: Path) -> dict:
    """A training; its best validation NDCG@10 and seconds an epoch."""
    place = out.with_suffix(out.suffix + ".json")
    if not place.is_file():
        out.mkdir(parents=True, exist_ok=True)
        with texts_kept(folder, out):
            done = recommender.train(settings, folder, out, lambda line: print(f"{out.name}: {line}", flush=True), rules_with(changes))
        place.write_text(json.dumps({"valid_ndcg10": max(done["curve"]), "epoch_s": done["fit_s"] / len(done["curve"])}))
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
            values = np.array([one(settings.model_copy(update={"seed": seed}), folder, changes, asked.work / f"{name}.{switch}.{seed}")["valid_ndcg10"] for seed in seeds])
            plain = values if plain is None else plain
            cases[f"{name}.{switch}"] = {**figure(float(values.mean()), "NDCG@10 of the transformer alone, validation", runs=len(seeds), spread=float((values.max() - values.min()) / values.mean())),
                                         "over_plain": round(float(values.mean() / plain.mean()), 4), "seeds": asked.seeds, "users": dataset.load(folder).meta["users"]}
            print(f"{name}.{switch}: {values.mean():.4f}, {values.mean() / plain.mean():.3f} of the plain one", flush=True)
    print(write("recommender_switches", COMMAND, merged("recommender_switches", cases.__contains__, cases)))


if __name__ == "__main__":
    main()
