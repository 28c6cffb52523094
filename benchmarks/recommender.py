"""The recommender against its baselines and the open peers: same split, same evaluator. Results: benchmarks/results/recommender.json.

    python -m benchmarks.recommender [DATA …] [--seeds 42,43,44] [--work FOLDER] [--peers PYTHON] [--peer-seconds S] [--only-peers] [--only-baselines] [--cold [--tune-text PAIRS]] [--report]

Every finished part (a data set's run of one seed, ours or a peer's) is kept in FOLDER and not done again, so a run that was cut
short goes on; `--report` only writes what is there, and leaves in the results what FOLDER has nothing new of. Models are chosen on
validation; the test part is read once, at the end.
ECOMREC_BENCHMARK_DATA names the folder of the public sets, PYTHON the peers' own environment
(`python -m venv /tmp/peers && /tmp/peers/bin/pip install -r benchmarks/peers/requirements.txt`).
"""

import argparse
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks import figure, merged, recommender_data, write
from ecomrec import dataset, recommender
from ecomrec.baselines import eases, fit_baselines, tune
from ecomrec.compression.recommender import compress
from ecomrec.errors import InputError
from ecomrec.heldout import K, held_out, ndcg, popular
from ecomrec.models import loading
from ecomrec.settings import Settings

DATA = ("amazon-beauty", "amazon-toys", "completejourney", "online-retail")
PEERS = ("sasrec", "esasrec")
BASELINES = ("popularity_7d", "frequency", "item_knn", "als", "ease_recency")
COLD_SHARE = 0.1
COMMAND = "python -m benchmarks.recommender --peers PYTHON"  # hidden products: with --cold, and with --cold --tune-text 12800


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=list(DATA))
    parser.add_argument("--seeds", default="42,43,44")
    parser.add_argument("--work", type=Path, default=Path(".ecomrec/benchmark"))
    parser.add_argument("--peers", default="", help="python of the peers' environment; empty: no peer is run")
    parser.add_argument("--peer-seconds", type=float, default=3600, help="training time that a peer gets, for each seed")
    parser.add_argument("--only-peers", action="store_true", help="only the peers' part")
    parser.add_argument("--only-baselines", action="store_true", help="only the product's baselines, tuned and judged as a training does it")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--cold", action="store_true", help="only the new items' part")
    parser.add_argument("--tune-text", type=int, default=0, metavar="PAIRS", help="with --cold: [text.tune] pairs of the recipe; a case of its own")
    parser.add_argument("--times", action="store_true", help="report seconds too: the runs were alone on the machine and not cut short")
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args()
    for name in () if asked.report else asked.data:
        settings = Settings(_env_file=None, home=asked.work / "home", threads=asked.threads)
        try:
            folder = prepared(settings, name, asked.work)
        except InputError as error:
            print(f"{name} is left out: {error}")
            continue
        if asked.only_baselines:
            baselines(settings, folder, asked.work / f"{name}.baselines")
            continue
        for seed in () if asked.cold or asked.only_peers else asked.seeds.split(","):
            ours(settings.model_copy(update={"seed": int(seed)}), folder, asked.work / f"{name}.{seed}")
        if dataset.load(folder).by_user and not asked.only_peers:
            cold(settings, folder, asked.work / f"{name}.cold{'_tuned' if asked.tune_text else ''}", asked.tune_text)
        for peer, seed in product(PEERS, asked.seeds.split(",")) if asked.peers and not asked.cold else ():
            out = asked.work / f"{name}.{peer}.{seed}"
            if not finished(asked.work / f"{out.name}.json"):
                command = [asked.peers, str(Path(__file__).parent / "peers/run.py"), str(folder), peer, str(out), "--seed", seed, "--seconds", str(asked.peer_seconds)]
                subprocess.run(command, check=True)
    fresh = report(asked.work, asked.times)
    print(write("recommender", COMMAND, ratios(merged("recommender", fresh.__contains__, fresh))))


def prepared(settings: Settings, name: str, work: Path) -> Path:
    """The data set's folder, built when it is not there, with the rows as the peers read them."""
    folder = work / "data" / name
    if not (folder / "rows.npz").is_file():
        recommender_data.build(settings, name, folder)
        data = dataset.load(folder)
        np.savez(folder / "rows.npz", user=data.user.astype(np.int64), item=data.item.astype(np.int64), day=data.day, time=data.time, part=data.part,
                 items=len(data.item_ids), exclude=data.by_user)
    return folder


def ours(settings: Settings, folder: Path, out: Path) -> None:
    """Train, compress, evaluate as the product does; the result is `out`.json."""
    if out.with_suffix(out.suffix + ".json").is_file():
        return
    out.mkdir(parents=True, exist_ok=True)
    with texts_kept(folder):
        steps = {step.__name__: step(settings, folder, out, lambda line: print(f"{out.name}: {line}", flush=True))
                 for step in (recommender.train, compress, recommender.evaluate)}
    out.with_suffix(out.suffix + ".json").write_text(json.dumps(steps, indent=1, sort_keys=True))


def baselines(settings: Settings, folder: Path, out: Path) -> None:
    """What `recommender.evaluate` makes of the baselines, without a candidate; the result is `out`.json. None but implicit ALS knows chance, and its seed is fixed."""
    if out.with_suffix(out.suffix + ".json").is_file():
        return
    data = dataset.load(folder)
    rules, held = recommender.recipe_for(data), held_out(data, dataset.TEST)
    recommender.prepare(settings)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "item_vectors.npy", np.zeros((len(data.item_ids), 1), dtype=np.float16))  # nothing here asks how alike items are
    chosen = fit_baselines(settings, data, out, rules, tune(settings, data, rules, eases(data, dataset.VALID, rules, rules["ease"]))[0], settings.encoder, lambda line: print(f"{out.name}: {line}", flush=True))
    values = {name: ndcg(loading.load(out / "baselines" / name, settings.threads).recommend(held["histories"], held["day"], K, held["exclude"])[0], held) for name in chosen}
    out.with_suffix(out.suffix + ".json").write_text(json.dumps({"ndcg10": values, "chosen": chosen}, indent=1, sort_keys=True))


@contextmanager
def texts_kept(folder: Path) -> Iterator[None]:
    """Within it trainings on the data set in `folder` take the items' vectors from the first of them."""
    cache, encode = folder / "text.npy", recommender.encode_texts

    def kept(*asked) -> np.ndarray:
        if not cache.is_file():
            np.save(cache, encode(*asked))
        return np.load(cache)

    recommender.encode_texts = kept
    try:
        yield
    finally:
        recommender.encode_texts = encode


def one_point(rules: dict) -> dict:
    """`rules` with one point of each search of the item-item part: where the transformer is what is measured."""
    return rules | {section: {key: value[:1] if isinstance(value, list) else {name: each[:1] for name, each in value.items()} for key, value in rules[section].items()}
                    for section in ("ease", "linear")}


def cold(settings: Settings, folder: Path, out: Path, pairs: int = 0) -> None:
    """A tenth of the items hidden from training; then, of users whose next item is a hidden one, rank the hidden ones. `pairs`: what the text encoder learns from."""
    if out.with_suffix(out.suffix + ".json").is_file():
        return
    hidden = folder.parent / f"{folder.name}-cold"
    chosen = hide(folder, hidden, settings.seed)
    say = lambda line: print(f"{out.name}: {line}", flush=True)  # noqa: E731
    out.mkdir(parents=True, exist_ok=True)
    rules = recommender.recipe()
    rules["text"]["tune"]["pairs"] = pairs
    with texts_kept(folder):
        trained = recommender.train(settings, hidden, out, say, rules)
    compress(settings, hidden, out, say)
    result = {**recommender.rank_new(settings, dataset.load(hidden), out, chosen), "valid_ndcg10": trained["valid_ndcg10"]}
    out.with_suffix(out.suffix + ".json").write_text(json.dumps(result, indent=1, sort_keys=True))


def finished(file: Path) -> bool:
    """Whether the peer's run that `file` tells of came to its end; one that was stopped half-way is no opponent."""
    return file.is_file() and json.loads(file.read_text()).get("finished", False)


def report(work: Path, times: bool) -> dict:
    """Every case that has been measured in `work`; seconds only where the runs were alone on the machine and not cut short."""
    cases = {}
    for name in DATA:
        cases |= peers(work, name)
        runs = [json.loads(path.read_text()) for path in sorted(work.glob(f"{name}.[0-9]*.json"))]
        if (alone := work / f"{name}.baselines.json").is_file():
            found = json.loads(alone.read_text())
            cases.update({f"{name}.{model}.ndcg10": {**_over([value]), "chosen": found["chosen"][model]} for model, value in found["ndcg10"].items()})
        for model in runs[0]["evaluate"]["models"] if runs else ():
            if f"{name}.{model}.ndcg10" in cases:  # measured alone, by whoever asked for it
                continue
            cases[f"{name}.ndcg10" if model == "candidate" else f"{name}.{model}.ndcg10"] = _over([run["evaluate"]["models"][model][f"NDCG@{K}"] for run in runs])
        for kind in ("cold", "cold_tuned"):
            if (work / f"{name}.{kind}.json").is_file():
                found = json.loads((work / f"{name}.{kind}.json").read_text())
                cases.update({f"{name}.{kind}.{key}": figure(value, "NDCG@10" if key.endswith("ndcg10") else "ratio" if key == "ratio_to_best" else "users")
                              for key, value in found.items()})
        if not runs:
            continue
        for part in ("transformer_alone", "linear_alone", "repeat_alone"):
            found = [run["evaluate"]["candidate_parts"][part] for run in runs]
            cases[f"{name}.{part}.ndcg10"] = _over([value[f"NDCG@{K}"] if isinstance(value, dict) else value for value in found])
        for metric in (f"Recall@{K}", f"MRR@{K}", f"MAP@{K}", f"coverage@{K}", f"gini@{K}", f"novelty@{K}", f"diversity@{K}"):
            cases[f"{name}.{metric.replace('@', '').lower()}"] = _over([run["evaluate"]["models"]["candidate"][metric] for run in runs], metric)
        if times:
            cases[f"{name}.train_s"] = _over([run["train"]["seconds"] for run in runs], "s")
            cases[f"{name}.positions_per_s"] = _over([run["train"]["positions"] / max(run["train"]["fit_s"], 1e-9) for run in runs], "positions/s")
    return cases


def peers(work: Path, name: str) -> dict:
    """The finished runs of the peers on one data set, judged by our evaluator; `last`: where each seed's training stood at its end."""
    cases = {}
    for peer in PEERS:
        done = [file for file in sorted(work.glob(f"{name}.{peer}.*.json")) if finished(file)]
        if not done:
            continue
        data = dataset.load(work / "data" / name)
        held, values = held_out(data, dataset.TEST), []
        for file in done:
            found = np.load(file.with_suffix(".npz"))
            ranked = np.full((len(held["users"]), K), -1, dtype=np.int64)
            known = np.isin(held["users"], found["users"])
            ranked[known] = found["ranked"][np.searchsorted(found["users"], held["users"][known])]
            # Whom a peer cannot answer is shown what sells, as everybody else's newcomers are.
            ranked[(ranked < 0).all(axis=1)] = np.argsort(-popular(data, dataset.TEST, recommender.recipe()["popularity"]["days"]), kind="stable")[:K]
            values.append(ndcg(ranked, held))
        curves = [json.loads(file.read_text())["curve"] for file in done]
        cases[f"{name}.{peer}.ndcg10"] = {**_over(values), "last": [curve[-1] for curve in curves], "best_epoch": [max(curve, key=lambda point: point["valid_ndcg10"])["epoch"] for curve in curves]}
    return cases


def ratios(cases: dict) -> dict:
    """`cases`, and for each data set ours over the best opponent, whoever measured them when."""
    for name in DATA:
        opponents = {model: cases[f"{name}.{model}.ndcg10"]["value"] for model in (*BASELINES, *PEERS) if f"{name}.{model}.ndcg10" in cases}
        if opponents and f"{name}.ndcg10" in cases:
            best, own = max(opponents, key=opponents.__getitem__), cases[f"{name}.ndcg10"]
            cases[f"{name}.ratio_to_best"] = {**figure(own["value"] / opponents[best], "ratio", runs=own["runs"]), "best": best}
    return cases


def hide(source: Path, target: Path, seed: int) -> np.ndarray:
    """Writes the data set of `source` without the training and validation events of a tenth of the items; returns their indices."""
    import shutil

    import pyarrow.parquet as pq

    data = dataset.load(source)
    chosen = np.sort(np.random.default_rng(seed).choice(len(data.item_ids), int(COLD_SHARE * len(data.item_ids)), replace=False))
    shutil.copytree(source, target, dirs_exist_ok=True)
    rows = pq.read_table(source / "interactions.parquet")
    keep = ~np.isin(data.item, chosen) | (data.part == dataset.TEST)
    pq.write_table(rows.filter(keep), target / "interactions.parquet", compression="zstd")
    return chosen


def _over(values: list[float], unit: str = "NDCG@10") -> dict:
    """Mean of the runs, their standard deviation and their relative spread."""
    middle = float(np.median(values))
    return {**figure(float(np.mean(values)), unit, runs=len(values), spread=(max(values) - min(values)) / middle if middle else 0.0),
            "sd": round(float(np.std(values, ddof=1)), 5) if len(values) > 1 else 0.0}


if __name__ == "__main__":
    main()
