"""How long evaluation and gates take for a million users, how often the gates refuse a twin, and how fast a rollback is.

    python -m benchmarks.gates [users] [items]

Two things are SIMULATED here. The twins: NDCG-like (Beta 1, 4) per user, every model the same score plus its own noise of 0.05;
a twin (A/A) differs from its champion in the noise only, a better one has 3 % of the mean more; 2,400 users as in the demo, ten
slices of a tenth of them. And the shop of the long evaluation: 50 purchases a user, popularity falling with rank^-0.8, two
untrained transformers of the real size blended with an item-item part as candidate and champion, item-item matrices of 200
weights an item as baselines. What happens to them is the product's own code from the served model to the verdicts. Real
models: `python -m benchmarks.gates_real`.
"""

import json
import shutil
import sys
import tempfile
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from benchmarks import figure, write
from benchmarks.recommend import make_model
from ecomrec import (
    artifact,
    bootstrap,
    champions,
    database,
    dataset,
    evaluation,
    facts,
    gates,
    publication,
    recommender,
)
from ecomrec.models import Recency, frequency, itemitem, popularity
from ecomrec.rollback import roll_back
from ecomrec.settings import Settings

COMMAND = "python -m benchmarks.gates"
USERS, RUNS, NOISE = 2400, 200, 0.05
LAST, BOUGHT, TESTED, READERS = date(2017, 3, 31), 50, 2, 3


def shop(random: np.random.Generator, users: int, gain: float) -> dict[str, np.ndarray]:
    """Columns of evaluation.parquet: a champion, a candidate that is better by `gain` (relative), weaker baselines, ten slices."""
    base = random.beta(1, 4, users).astype(np.float32)
    noise = {name: random.normal(0, NOISE, users).astype(np.float32) for name in ("candidate", "champion")}
    columns = {"candidate": base * (1 + gain) + noise["candidate"], "champion": base + noise["champion"], "popularity_7d": base * 0.3, "ease_recency": base * 0.9}
    place = np.arange(users) % 10
    for name in ("candidate", "champion"):
        columns |= {f"slice {part}|{name}": np.where(place == part, columns[name], np.nan).astype(np.float32) for part in range(10)}
    return columns


def judged(columns: dict[str, np.ndarray], seed: int, folder: Path) -> dict:
    pq.write_table(pa.table({"unit": pa.array(np.arange(len(columns["candidate"]))), **columns}), folder / "evaluation.parquet")
    return gates.decide("recommender", folder, seed)


def twins() -> dict:
    """False refusals of twins, and detections of a model that is 3 % better."""
    random, cases = np.random.default_rng(7), {}
    with tempfile.TemporaryDirectory() as desk:
        refused = sum(not judged(shop(random, USERS, 0.0), seed, Path(desk))["passed"] for seed in range(RUNS))
    cases["simulated_twin"] = {"false_refusal_rate": figure(refused / RUNS, "share", RUNS), "users": USERS}
    found = 0
    for seed in range(RUNS):
        columns = shop(random, USERS, 0.03)
        figures = bootstrap.resample({name: columns[name] for name in ("candidate", "champion")}, np.ones(USERS), seed)
        found += bootstrap.interval(figures.draws["candidate"] - figures.draws["champion"])[0] > 0
    return cases | {"simulated_3_percent_better": {"detection_rate": figure(found / RUNS, "share", RUNS), "users": USERS}}


def write_shop(folder: Path, users: int, items: int) -> None:
    """The files of a data set (`ecomrec.dataset`): every user buys BOUGHT things before the test week and TESTED in it."""
    random, last = np.random.default_rng(1), (LAST - date(1970, 1, 1)).days
    share = np.cumsum(np.arange(1, items + 1) ** -0.8)
    item = np.searchsorted(share, random.random(users * (BOUGHT + TESTED), dtype=np.float32) * share[-1]).astype(np.int32)
    day = np.sort(random.integers(last - 97, last - 7, (users, BOUGHT), dtype=np.int32), axis=1)
    day = np.concatenate((day, np.sort(random.integers(last - 6, last + 1, (users, TESTED), dtype=np.int32), axis=1)), axis=1).ravel()
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"user": np.repeat(np.arange(users, dtype=np.int32), BOUGHT + TESTED), "item": item, "day": day, "time": day.astype(np.int64) * 86400,
                             "weight": np.ones(len(item), dtype=np.float32)}), folder / "interactions.parquet", compression="zstd")
    pq.write_table(pa.table({"user_id": [f"u{n:07}" for n in range(users)]}), folder / "users.parquet")
    pq.write_table(pa.table({"item_id": [f"i{n:06}" for n in range(items)], "title": [f"thing {n}" for n in range(items)], "category": [f"C{n % 40:02}/S{n % 400:03}" for n in range(items)],
                             "brand": [f"B{n % 97}" for n in range(items)], "price": np.arange(items) % 50 + 1.0}), folder / "items.parquet")
    (folder / "meta.json").write_text(json.dumps({"split": "time", "day": LAST.isoformat(), "valid_from": (LAST - timedelta(days=13)).isoformat(),
                                                  "test_from": (LAST - timedelta(days=6)).isoformat(), "users": users, "items": items, "test_purchases_covered": 1.0}))


def write_models(folder: Path, items: int) -> tuple[Path, Path]:
    """A candidate with its baselines, and a champion."""
    candidate, champion = (make_model(folder / name, items, seed) for seed, name in enumerate(("candidate", "champion"), start=1))
    ids, sold, random = np.array([f"i{n:06}" for n in range(items)]), np.arange(1, items + 1, dtype=np.float32) ** -0.8, np.random.default_rng(3)
    baselines = {"popularity_7d": (popularity, popularity.Popularity(ids, sold)), "frequency": (frequency, frequency.Frequency(ids, 30.0, sold))}
    for name in ("item_knn", "ease_recency"):
        near = np.sort(random.choice(items, (items, 200), p=sold / sold.sum()).astype(np.int32), axis=1)
        weights = sparse.csr_matrix((random.random(near.size).astype(np.float32), near.ravel(), np.arange(0, near.size + 1, 200)), shape=(items, items))
        weights.sum_duplicates()
        baselines[name] = (itemitem, itemitem.ItemItem(ids, weights, Recency(30.0), sold))
    for name, (module, model) in baselines.items():
        place = candidate / "baselines" / name
        module.save(place, model)
        np.save(place / "item_vectors.npy", np.load(candidate / "item_vectors.npy"))
        artifact.write_manifest(place, kind=module.__name__.rpartition(".")[2])
    return candidate, champion


def evaluate(settings: Settings, users: int, items: int) -> dict:
    """Seconds of each step from the served models to the verdicts, and the peak memory of the process that does it all."""
    place = settings.home / "long"
    write_shop(place / "data", users, items)
    candidate, champion = write_models(place, items)
    seconds, at = {}, time.monotonic()

    def lap(name: str) -> None:
        nonlocal at
        seconds[name], at = time.monotonic() - at, time.monotonic()
        print(f"  {name}: {seconds[name]:.1f} s", flush=True)

    recommender.measure(settings, dataset.load(place / "data"), candidate, dict.fromkeys(("popularity_7d", "frequency", "item_knn", "ease_recency")), 5000, at, print)
    lap("measure")
    evaluation.extend(settings, "recommender", place / "data", candidate, champion, print)
    lap("champion_slices_spoilt_inputs")
    facts.measure(settings, "recommender", place / "data", candidate)
    lap("facts")
    decision = gates.decide("recommender", candidate, 1)
    lap("decide")
    peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")) / 1e6
    shutil.rmtree(place)
    return {"evaluation": {**figure(sum(seconds.values()), "s"), "users": users, "items": items, "verdicts": len(decision["verdicts"]), "simulated": True,
                           "peak_gb": round(peak, 2), "steps": {name: round(value, 1) for name, value in seconds.items()}}}


def rollback(settings: Settings, users: int, times: int = 20) -> dict:
    """The slowest of `times` rollbacks of model and publication while READERS read whole lists in a loop, and what they saw."""
    for number in (1, 2):
        _serve(settings, number, users)
    reads, wrong, stop = [], [], threading.Event()

    def read(seed: int) -> None:
        random = np.random.default_rng(seed)
        with database.connect(settings.shop_dsn, application="reader") as connection, connection.cursor() as cursor:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    cursor.execute("SELECT item_id, model_version FROM analytics.user_recommendations WHERE user_id = ANY(%s)", (random.integers(0, users, 5).astype(str).tolist(),))
                    found = cursor.fetchall()
                    connection.commit()
                    if len({item[0] + model for item, model in found}) != 1 or len(found) < 10:
                        wrong.append(found[:3])
                except Exception as error:  # any at all is a failure
                    wrong.append(repr(error))
                reads.append(time.monotonic() - began)

    readers = [threading.Thread(target=read, args=(seed,), daemon=True) for seed in range(READERS)]
    for reader in readers:
        reader.start()
    seconds = []
    for number in range(3, 3 + times):
        began = time.monotonic()
        roll_back(settings, "both", "to measure it", actor="benchmark")
        seconds.append(time.monotonic() - began)
        _serve(settings, number, users)
    stop.set()
    for reader in readers:
        reader.join()
    if wrong:
        raise SystemExit(f"readers saw {wrong[:3]}")
    return {"rollback": {**figure(max(seconds), "s, slowest", times), "median_s": float(np.median(seconds)), "users": users, "reads": len(reads),
                         "slowest_read_s": round(max(reads), 3), "errors_empty_or_mixed": len(wrong)}}


def _serve(settings: Settings, number: int, users: int) -> None:
    """Version `number` as champion, and its publication live: ten items a user whose first letter says the version's parity."""
    champions.promote(settings, {"family": "recommender", "version": str(number), "kind": "benchmark", "uri": f"file:///{number}"}, "to measure", "benchmark")
    plan = publication.open_publication(settings, f"version {number}", LAST.isoformat(), f"recommender/{number} (benchmark)")
    name, letter = publication.partition("user_recommendations", plan["publication_id"]), "ab"[number % 2]
    with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"""INSERT INTO {name} (publication_id, shard, user_id, item_ids, scores, reasons, because, model_version, context, scope, evidence)
            SELECT %s, 0, u::text, array_agg(%s || i ORDER BY i), array_agg((10 - i)::real ORDER BY i), array_agg('popular'::recs.reason), array_agg(''::text), %s, 'home', '', array_agg(0::real)
            FROM generate_series(0, %s) u, generate_series(0, 9) i GROUP BY u""", (plan["publication_id"], letter, f"recommender/{number} (benchmark)", users - 1))
    publication.go_live(settings, plan["publication_id"], {"users": users, "items": 10})


def main(users: int, items: int) -> None:
    """Writes results/gates.json."""
    from ecomrec.migrations import migrate
    from ecomrec.runtime import postgres

    home = Path(tempfile.mkdtemp(prefix="ecomrec-bench-"))
    settings = Settings(_env_file=None, home=home)
    postgres.start(settings)
    try:
        migrate(settings.shop_dsn)
        cases = rollback(settings, 100_000) | evaluate(settings, users, items) | twins()
    finally:
        postgres.stop(settings)
        shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(cases, indent=1))
    print(write("gates", f"{COMMAND} {users} {items}", cases))


if __name__ == "__main__":
    main(*(int(number) for number in (sys.argv[1:3] or ("1000000", "50000"))))
