"""Training time and memory as users grow: a fifth of completejourney's households, then 4 and 16 times as many, resampled under new names.

    python -m benchmarks.recommender_scale [folder]

Each size is trained in a process of its own, one epoch of the default recipe's transformer (the item-item part does not depend on
the number of users once its Gram matrix is there). Memory is that process's peak.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import figure, recommender_data, write
from ecomrec import dataset
from ecomrec.settings import Settings

COMMAND = "python -m benchmarks.recommender_scale"
SHARE, TIMES = 5, (1, 4, 16)
CHILD = """
import json, sys
from pathlib import Path
from ecomrec import recommender
from ecomrec.settings import Settings
rules = recommender.recipe()
rules["sequential"].update(epochs=1)
for name in ("ease", "linear"):
    rules[name] = {**{key: value[:1] for key, value in rules[name].items() if isinstance(value, list)}}
done = recommender.train(Settings(_env_file=None, home=Path(sys.argv[2])), Path(sys.argv[1]), Path(sys.argv[2]) / "model", lambda line: None, rules)
peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps({"fit_s": done["fit_s"], "seconds": done["seconds"], "positions": done["positions"], "peak_mb": peak / 1000}))
"""


def resampled(source: Path, target: Path, users: int, seed: int = 1) -> None:
    """The data set of `source` with `users` households drawn from a fifth of them, each draw a household of its own."""
    data, rows = dataset.load(source), pq.read_table(source / "interactions.parquet")
    own = np.flatnonzero(np.arange(data.meta["users"]) % SHARE == 0)
    drawn = own if users == len(own) else np.random.default_rng(seed).choice(own, users)
    starts = np.searchsorted(data.user, np.arange(data.meta["users"] + 1))
    sizes = starts[drawn + 1] - starts[drawn]
    place = np.repeat(starts[drawn] - np.concatenate(([0], np.cumsum(sizes)[:-1])), sizes) + np.arange(sizes.sum())
    table = rows.take(pa.array(place))
    table = table.set_column(table.column_names.index("user"), "user", pa.array(np.repeat(np.arange(users, dtype=np.int32), sizes)))
    target.mkdir(parents=True)
    pq.write_table(table, target / "interactions.parquet", compression="zstd")
    pq.write_table(pa.table({"user_id": [f"h{n:06}" for n in range(users)]}), target / "users.parquet")
    (target / "items.parquet").write_bytes((source / "items.parquet").read_bytes())
    (target / "meta.json").write_text(json.dumps({**data.meta, "users": users}))


def main(work: Path) -> None:
    """Writes results/recommender_scale.json."""
    settings, cases, first = Settings(_env_file=None, home=work / "home"), {}, None
    recommender_data.build(settings, "completejourney", work / "whole")
    base = dataset.load(work / "whole").meta["users"] // SHARE + (dataset.load(work / "whole").meta["users"] % SHARE > 0)
    for times in TIMES:
        resampled(work / "whole", work / f"x{times}", base * times)
        done = subprocess.run([sys.executable, "-c", CHILD, str(work / f"x{times}"), str(work / f"home{times}")], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found
        cases[f"x{times}"] = {**figure(found["fit_s"], "s an epoch"), "users": base * times, **{name: round(found[name], 1) for name in ("seconds", "positions", "peak_mb")},
                              "time_ratio": round(found["fit_s"] / first["fit_s"], 2), "memory_ratio": round(found["peak_mb"] / first["peak_mb"], 2)}
        print(times, cases[f"x{times}"], flush=True)
    print(write("recommender_scale", COMMAND, cases))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="ecomrec-scale-")))
