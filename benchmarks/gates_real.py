"""The gates before real models: twins of other seeds, a model that is truly 3 % better, and models of older days.

    python -m benchmarks.gates_real [folder]

Data: completejourney, 16 weeks up to 2017-11-26 as in the demo, split by time; the recommender's own recipe, SEEDS of it trained
whole, and with seed 42 on the days up to 7, 14 and 28 days earlier. A twin (A/A) is one seed as candidate and another as
champion; each of 200 runs draws such a pair and as many of the test users as there are, with replacement, as another week
would. A model that is 3 % better stands before a champion whose lists were made worse: as many users, drawn by chance, get
the popular list as cost it 3 %. What is finished in `folder` is kept.
"""

import json
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import figure, recommender_data, write
from ecomrec import bootstrap, dataset, evaluation, gates, recommender
from ecomrec.compression.recommender import compress
from ecomrec.heldout import held_out, ndcg
from ecomrec.models import loading
from ecomrec.replay import completejourney
from ecomrec.settings import Settings

COMMAND = "python -m benchmarks.gates_real"
FIRST, DAY, SEEDS, AGES, RUNS, GAIN = "2017-08-07", date(2017, 11, 26), (42, 43, 44, 45, 46, 47), (7, 14, 28), 200, 0.03


def main(work: Path) -> None:
    """Trains what is not there yet and writes results/gates_real.json."""
    for seed in SEEDS:
        trained(work, DAY, seed, evaluated=True)
    for age in AGES:
        trained(work, DAY - timedelta(days=age), SEEDS[0], evaluated=False)
    tables = [pq.read_table(work / f"{DAY}.{seed}" / "evaluation.parquet") for seed in SEEDS]
    refused, found, gates_hit = 0, 0, {}
    for run in range(RUNS):
        random = np.random.default_rng(run)
        one, other = random.choice(len(tables), 2, replace=False)
        rows = random.integers(0, len(tables[one]), len(tables[one]))
        decision = judged(twin(tables[one], tables[other]).take(pa.array(rows)), run)
        refused += not decision["passed"]
        for verdict in decision["verdicts"]:
            if verdict["refuses"]:
                gates_hit[verdict["gate"]] = gates_hit.get(verdict["gate"], 0) + 1
        found += better(tables[one], rows, random, run)
    twins = [float(np.mean(table["candidate"].to_numpy())) for table in tables]
    cases = {"real_twin": {**figure(refused / RUNS, "share refused", RUNS), "seeds": len(SEEDS), "users": len(tables[0]), "by_gate": gates_hit},
             "real_3_percent_better": {**figure(found / RUNS, "share detected", RUNS), "users": len(tables[0])},
             "seed_spread": {**figure(float(np.std(twins, ddof=1) / np.mean(twins)), "sd / mean of NDCG@10", len(SEEDS)), "mean": float(np.mean(twins))}}
    cases |= {f"retrained_{age}_days_earlier": figure(value, "NDCG@10") for age, value in staleness(work).items()}
    print(json.dumps({name: case["value"] for name, case in cases.items()}, indent=1), gates_hit)
    print(write("gates_real", COMMAND, cases))


def trained(work: Path, day: date, seed: int, evaluated: bool) -> Path:
    """The model of `day` and `seed`, trained, compressed and, if asked, evaluated as in a training run."""
    settings, data, out = Settings(_env_file=None, home=work / "home", seed=seed), work / f"data.{day}", work / f"{day}.{seed}"
    if not (data / "meta.json").is_file():
        build(settings, day, data)
    done = out / ("looked.json" if evaluated else "manifest.json")
    if not done.is_file():
        say = lambda line: print(f"{out.name}: {line}", flush=True)  # noqa: E731
        out.mkdir(parents=True, exist_ok=True)
        recommender.train(settings, data, out, say)
        compress(settings, data, out, say)
        if evaluated:
            recommender.evaluate(settings, data, out, say)
            evaluation.extend(settings, "recommender", data, out, None, say)
            done.write_text("{}")
    return out


def build(settings: Settings, day: date, folder: Path) -> None:
    connection = duckdb.connect()
    completejourney.days(connection, FIRST, day.isoformat(), None)
    events = connection.sql(recommender_data.EVENTS.format(rows=f"""SELECT CAST(household_id AS VARCHAR) AS user_id, CAST(product_id AS VARCHAR) AS item_id,
        transaction_timestamp AS time, number FROM bought WHERE dt BETWEEN '{FIRST}' AND '{day}'""")).to_arrow_table()
    items = connection.sql(recommender_data.COMPLETEJOURNEY_ITEMS).to_arrow_table()
    dataset.write(settings, day.isoformat(), events, items, folder)


def twin(candidate: pa.Table, champion: pa.Table) -> pa.Table:
    """The candidate's columns, and those of the other's candidate as the champion's."""
    for name in champion.column_names:
        if name == "candidate" or (name.endswith("|candidate") and not name.startswith("robust: ")):
            candidate = candidate.append_column(name.replace("candidate", "champion"), champion[name])
    return candidate


def judged(table: pa.Table, seed: int) -> dict:
    with tempfile.TemporaryDirectory() as desk:
        pq.write_table(table, Path(desk) / "evaluation.parquet")
        return gates.decide("recommender", Path(desk), seed)


def better(table: pa.Table, rows: np.ndarray, random: np.random.Generator, seed: int) -> bool:
    """Whether the interval of the difference shows that the candidate is better than itself made GAIN worse."""
    own, popular = (table[name].to_numpy().astype(float)[rows] for name in ("candidate", "popularity_7d"))
    worse, target = own.copy(), own.mean() / (1 + GAIN)
    for row in random.permutation(len(own)):
        if worse.mean() <= target:
            break
        worse[row] = popular[row]
    figures = bootstrap.resample({"candidate": own, "champion": worse}, np.ones(len(own)), seed)
    return bootstrap.interval(figures.draws["candidate"] - figures.draws["champion"])[0] > 0


def staleness(work: Path) -> dict[int, float]:
    """NDCG@10 on the last week of the models of earlier days, which are given today's histories; 0: today's."""
    data = dataset.load(work / f"data.{DAY}")
    held = held_out(data, dataset.TEST)
    models = {0: DAY, **{age: DAY - timedelta(days=age) for age in AGES}}
    return {age: ndcg(evaluation.recommend(loading.load(work / f"{day}.{SEEDS[0]}"), data.item_ids, held["histories"], held["day"], held["exclude"]), held)
            for age, day in models.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(".ecomrec/gates"))
