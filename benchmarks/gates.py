"""How long the gates take for a million users, what they need of memory, how often they refuse a twin, and how fast a rollback is.

    python -m benchmarks.gates

The scores of users are SIMULATED: NDCG-like (Beta 1, 4) per user, every model the same score plus its own noise of 0.05. A
twin (A/A) differs from its champion in the noise only; a better one has 3 % of the mean more. 2,400 users as in the demo, ten
slices of a tenth of them. This measures the gates' statistics, not any model.
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import figure, write
from ecomrec import bootstrap, gates

COMMAND = "python -m benchmarks.gates"
USERS, RUNS, NOISE = 2400, 200, 0.05


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


def main() -> None:
    """Writes results/gates.json."""
    random, cases = np.random.default_rng(7), {}
    with tempfile.TemporaryDirectory() as desk:
        folder = Path(desk)
        refused = sum(not judged(shop(random, USERS, 0.0), seed, folder)["passed"] for seed in range(RUNS))
        cases["simulated_twin"] = {"false_refusal_rate": figure(refused / RUNS, "share", RUNS), "users": USERS}
        found = 0
        for seed in range(RUNS):
            columns = shop(random, USERS, 0.03)
            figures = bootstrap.resample({name: columns[name] for name in ("candidate", "champion")}, np.ones(USERS), seed)
            found += bootstrap.interval(figures.draws["candidate"] - figures.draws["champion"])[0] > 0
        cases["simulated_3_percent_better"] = {"detection_rate": figure(found / RUNS, "share", RUNS), "users": USERS}
        columns, before = shop(random, 1_000_000, 0.0), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        judged(columns, 1, folder)
        cases["decide_million_users"] = {"seconds": figure(time.monotonic() - began, "s"), "columns": len(columns),
                                         "more_memory": figure(max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6, "GB")}
    print(cases)
    print(write("gates", COMMAND, cases))


if __name__ == "__main__":
    main()
