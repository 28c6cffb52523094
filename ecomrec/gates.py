"""Gates: is the candidate proven better than the baselines, on the same held-out units?

The paired percentile bootstrap over units is Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ecomrec import database

RULES = Path(__file__).parent / "recipes" / "gates.toml"
RESAMPLES = 1000


@dataclass(frozen=True)
class Verdict:
    """One gate's answer. `low`/`high`: 95 % interval of `value`; all in the metric's unit."""

    gate: str
    verdict: str  # pass | fail | inconclusive
    value: float
    low: float
    high: float
    threshold: float
    sentence: str


def decide(family: str, folder: Path, seed: int, rules_file: Path = RULES) -> dict:
    """Judges the candidate in `folder` by its `evaluation.parquet` (one row per unit, one column per model).

    Returns `{"passed", "winner", "verdicts", "means"}`. `winner` is "candidate" when every gate passes, else the best
    baseline that can serve (has a folder under `baselines/`), else None: what is in service stays.
    """
    rules = tomllib.loads(rules_file.read_text(encoding="utf-8"))[family]
    table = pq.read_table(folder / "evaluation.parquet")
    weight = table["weight"].to_numpy() if "weight" in table.column_names else np.ones(len(table))
    values = {name: table[name].to_numpy().astype(float) for name in table.column_names if name not in ("unit", "weight")}
    means = {name: float(np.average(column, weights=weight)) if len(column) else 0.0 for name, column in values.items()}
    verdicts = [_floor(rules, values["candidate"], weight, seed)]
    verdicts += [_beats(rules, name, values["candidate"], values[name], weight, seed) for name in rules["must_beat"]]
    passed = all(verdict.verdict == "pass" for verdict in verdicts)
    servable = [name for name in rules["must_beat"] if (folder / "baselines" / name).is_dir()]
    winner = "candidate" if passed else max(servable, key=means.__getitem__, default=None)
    return {"family": family, "metric": rules["metric"], "passed": passed, "winner": winner, "means": means,
            "verdicts": [asdict(verdict) for verdict in verdicts]}


def record(connection, family: str, model_version: str, verdicts: list[dict]) -> None:
    """Writes the verdicts of `model_version` to ops.gate_results, replacing what an earlier try wrote."""
    database.execute(connection, "gates/clear", {"family": family, "model_version": model_version})
    for verdict in verdicts:
        database.execute(connection, "gates/record", {"family": family, "model_version": model_version, "refuses": verdict["verdict"] != "pass", **verdict})


def _floor(rules: dict, candidate: np.ndarray, weight: np.ndarray, seed: int) -> Verdict:
    value, low, high = bootstrap(candidate, weight, seed)
    verdict = "inconclusive" if len(candidate) < rules["min_units"] else "pass" if value >= rules["floor"] else "fail"
    sentence = (f"{rules['metric']} of the candidate is {value:.4f} ({low:.4f} to {high:.4f}) over {len(candidate):,} {_units(rules)}; "
                f"the floor is {rules['floor']:.4f}.")
    return Verdict("floor", verdict, value, low, high, rules["floor"], sentence)


def _beats(rules: dict, name: str, candidate: np.ndarray, baseline: np.ndarray, weight: np.ndarray, seed: int) -> Verdict:
    value, low, high = bootstrap(candidate - baseline, weight, seed)
    if len(candidate) < rules["min_units"]:
        verdict = "inconclusive"
    else:
        verdict = "pass" if low > 0 else "fail" if high < 0 else "inconclusive"
    proven = {"pass": "proven better than", "fail": "proven worse than", "inconclusive": "not proven better than"}[verdict]
    sentence = (f"The candidate is {proven} {name}: {rules['metric']} differs by {value:+.4f} ({low:+.4f} to {high:+.4f}) "
                f"over {len(candidate):,} {_units(rules)}.")
    return Verdict(f"beats_{name}", verdict, value, low, high, 0.0, sentence)


def _units(rules: dict) -> str:
    return {"user": "users", "query": "queries"}[rules["unit"]]


def bootstrap(values: np.ndarray, weight: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Weighted mean of `values` [N] and its 95 % percentile interval over resampled units. Empty input: zeros."""
    if not len(values):
        return 0.0, 0.0, 0.0
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for row in range(RESAMPLES):  # one row at a time: memory stays at N, whatever the number of users
        drawn = random.integers(0, len(values), len(values))
        means[row] = np.average(values[drawn], weights=weight[drawn])
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.average(values, weights=weight)), float(low), float(high)
