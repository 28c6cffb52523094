"""Which of the variants of a trained model serves: all are measured on the same validation units and machine, the cheapest of
those that are still good is chosen, and every one is on record with its figures or the reason why it fell out.

`limits` is a recipe's [compress]: `quality_kept`, the least share of the trained model's quality; `floor`, the least lower end of
that share's 95 % interval (paired bootstrap over the validation units); `parity`, where given, the most that a variant's scores may lie
from those of its own network in PyTorch (`ecomrec.metrics.parity`): what the gates would refuse is not chosen.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ecomrec import database
from ecomrec.bootstrap import interval, resample
from ecomrec.errors import EcomrecError

Echo = Callable[[str], None]
TEACHER = "torch"  # the trained model in PyTorch: what the others are compared with; it is never served
UNCOMPRESSED = "fp32"  # its export, which serves when nothing cheaper is good enough
ROUNDS, SINGLES, BATCHES = 3, 30, (32, 256)
SECONDS = 0.2  # that one batch size of one variant is timed for in a round, at least once
SAVES = 0.9  # a variant must cost less than this share of another to be the cheaper one
FIGURES = ("quality", "share", "low", "high", "p50_ms", "p95_ms", "p99_ms", "per_s_32", "per_s_256", "cpu_s_per_1000", "megabytes", "peak_mb")


@dataclass
class Variant:
    """`values` float [U]: quality of each validation unit; `answer(units)`: the whole way from raw units to the model's answer."""

    name: str
    technique: str                      # in words
    files: list[Path]                   # what it needs on disk
    values: np.ndarray
    answer: Callable[[list], object]
    facts: dict = field(default_factory=dict)  # whatever else was learned in making it


def attempt(name: str, make: Callable[[], Variant], skipped: dict[str, str], echo: Echo) -> Variant | None:
    """The variant, or None with the reason in `skipped`: an operator that does not export, a student that never learns, or a wish
    that this model cannot fulfil costs a variant, never the run. The uncompressed one is not made by this."""
    try:
        return make()
    except Exception as error:  # ONNX Runtime's errors have no class of their own above Exception
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        skipped[name] = "; ".join(lines[:2] if isinstance(error, EcomrecError) else lines[:1])[:300]
        echo(f"compress: {name} is left out: {skipped[name]}")
        return None


def measure(made: list[Variant], units: list, weight: np.ndarray, seed: int, echo: Echo, rounds: int = ROUNDS) -> list[dict]:
    """A row of figures for each variant; `made[0]` is the trained model, `weight` [U] says how much each validation unit counts.

    Interleaved: each round times every variant in turn, so what else the machine does hits all alike. Throughput is the best
    round's, latencies are those of all rounds. cpu_s_per_1000, CPU seconds for 1,000 units in batches of 32, stands for energy.
    """
    drawn = resample({variant.name: variant.values for variant in made}, weight, seed)
    teacher = made[0].name
    for variant in made:  # before anything is timed
        if "peak_mb" in variant.facts:
            variant.facts["peak_mb"] = variant.facts["peak_mb"]()
    times = {variant.name: {"single": [], **{size: [] for size in BATCHES}, "cpu": []} for variant in made}
    for variant in made if units else ():
        variant.answer(units[:max(BATCHES)])  # warm
    for _ in range(rounds if units else 0):  # nothing to answer: nothing is timed, and the uncompressed model serves
        for variant in made:
            _time(variant, units, times[variant.name])
    rows = []
    for variant in made:
        found, share = times[variant.name], drawn.draws[variant.name] / np.maximum(drawn.draws[teacher], 1e-12)
        low, high = interval(share)
        p50, p95, p99 = (1000 * float(np.quantile(found["single"] or [0.0], q)) for q in (0.5, 0.95, 0.99))
        rows.append({"name": variant.name, "technique": variant.technique, "quality": drawn.means[variant.name],
                     "share": drawn.means[variant.name] / max(drawn.means[teacher], 1e-12), "low": low, "high": high,
                     "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "per_s_32": max(found[32], default=0.0), "per_s_256": max(found[256], default=0.0),
                     "cpu_s_per_1000": min(found["cpu"], default=0.0), "megabytes": sum(path.stat().st_size for path in variant.files) / 1e6, **variant.facts})
        echo(f"compress: {variant.name}: quality {rows[-1]['quality']:.4f} ({rows[-1]['share']:.1%} of the trained model's, {low:.1%} to {high:.1%}), "
             f"{rows[-1]['per_s_32']:,.0f}/s in batches of 32, {p50:.2f} ms alone, {rows[-1]['megabytes']:.1f} MB")
    return rows


def _time(variant: Variant, units: list, found: dict) -> None:
    for place in range(SINGLES):
        one = [units[place % len(units)]]
        began = time.perf_counter()
        variant.answer(one)
        found["single"].append(time.perf_counter() - began)
    for size in BATCHES:
        done, began, cpu = 0, time.perf_counter(), time.process_time()
        while done == 0 or time.perf_counter() - began < SECONDS:
            first = done % max(len(units) - size, 1)
            done += len(units[first:first + size])
            variant.answer(units[first:first + size])
        found[size].append(done / (time.perf_counter() - began))
        if size == BATCHES[0]:
            found["cpu"].append(1000 * (time.process_time() - cpu) / done)


def choose(rows: list[dict], limits: dict) -> str:
    """Name of the cheapest row (CPU seconds) whose quality is kept; the uncompressed one when none is.

    What is cheaper by less than a tenth is as cheap, and of those the recipe's first is chosen: a clock whose noise is smaller decides nothing, and a
    run that is repeated serves the same variant but where two cost nearly a tenth apart. Marks every row: `on_front` (no other is both cheaper and better), `chosen`, and `why` in words.
    """
    front = -np.inf
    for row in sorted(rows, key=lambda row: (row["cpu_s_per_1000"], -row["quality"])):
        row["on_front"] = row["quality"] > front
        front = max(front, row["quality"])
        if row["share"] < limits["quality_kept"]:
            row["why"] = f"keeps {row['share']:.1%} of the quality, less than {limits['quality_kept']:.1%}"
        elif row["low"] < limits["floor"]:
            row["why"] = f"may keep only {row['low']:.1%} of the quality, less than {limits['floor']:.1%}"
        elif row.get("parity", 0.0) > limits.get("parity", np.inf):
            row["why"] = f"its scores lie {row['parity']:.1%} of their spread from those in PyTorch, more than the {limits['parity']:.1%} that the gates allow"
        else:
            row["why"] = "the trained model, for comparison" if row["name"] == TEACHER else ""
    served = [row for row in rows if not row["why"]]
    chosen = served[0] if served else next(row for row in rows if row["name"] == UNCOMPRESSED)
    for row in served:  # in the recipe's order
        if row["cpu_s_per_1000"] < SAVES * chosen["cpu_s_per_1000"]:
            chosen = row
    for row in rows:
        row["chosen"] = row is chosen
        if row["chosen"]:
            row["why"] = "the cheapest that keeps the quality" if served else "none that is cheaper keeps the quality"
        row["why"] = row["why"] or "good, and not a tenth cheaper than the chosen one"
    return chosen["name"]


def table(rows: list[dict], skipped: dict[str, str]) -> list[dict]:
    """`rows` rounded, and what was left out, each with every column of ops.model_variants."""
    whole = [{**{name: None if row.get(name) is None else round(float(row[name]), 6) for name in FIGURES}, "name": row["name"], "technique": row["technique"],
              "on_front": row["on_front"], "chosen": row["chosen"], "why": row["why"]} for row in rows]
    return whole + [{**dict.fromkeys(FIGURES), "name": name, "technique": "", "on_front": False, "chosen": False, "why": f"left out: {why}"} for name, why in skipped.items()]


def record(connection, family: str, model_version: str, rows: list[dict]) -> None:
    """Writes them to ops.model_variants, replacing what an earlier try wrote."""
    database.execute(connection, "variants/clear", {"family": family, "model_version": model_version})
    for row in rows:
        database.execute(connection, "variants/record", {"family": family, "model_version": model_version, **row})


def peak_mb(loader: str, *arguments: str) -> Callable[[], float | None]:
    """Peak resident megabytes of a fresh process that loads a variant and answers a batch: `loader` is `module:function` that
    does so with `arguments`. The process starts at once and runs beside what follows; call what is returned for the figure, None where it failed."""
    module, function = loader.split(":")
    # VmHWM and not ru_maxrss: that one is never less than what the parent held when it forked.
    told = ("import sys, importlib; getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(*sys.argv[3:]); "
            "print(next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')) / 1024)")
    process = subprocess.Popen([sys.executable, "-c", told, module, function, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def figure() -> float | None:
        try:
            told, _ = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()
            return None
        return round(float(told.split()[-1]), 1) if process.returncode == 0 else None

    return figure


def picture(rows: list[dict], title: str, metric: str, path: Path) -> Path | None:
    """PNG: quality with its interval against the time of one answer in a batch, the Pareto front marked, the chosen one starred; None where
    nothing was timed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [row for row in rows if row["per_s_32"]]
    if not shown:
        return None
    teacher = next((row["quality"] for row in shown if row["name"] == TEACHER), shown[0]["quality"])
    figure, axes = pyplot.subplots(figsize=(11, 5.5), dpi=110)
    cost = {row["name"]: 1000 / row["per_s_32"] for row in shown}
    front = sorted((row for row in shown if row["on_front"]), key=lambda row: cost[row["name"]])
    axes.plot([cost[row["name"]] for row in front], [row["quality"] for row in front], color="#8888", linestyle="--", zorder=1, label="Pareto front (CPU time, quality)")
    ordered = sorted(shown, key=lambda row: cost[row["name"]])
    for number, row in enumerate(ordered, 1):
        colour = "#c2410c" if row["chosen"] else "#1d4ed8" if row["on_front"] else "#6b7280"
        spread = [[max(0, row["quality"] - row["low"] * teacher)], [max(0, row["high"] * teacher - row["quality"])]]
        axes.errorbar(cost[row["name"]], row["quality"], yerr=spread, fmt="*" if row["chosen"] else "o", markersize=15 if row["chosen"] else 7, color=colour, capsize=3)
        axes.annotate(str(number), (cost[row["name"]], row["quality"]), textcoords="offset points", xytext=(5, 6), fontsize=9, color=colour, weight="bold" if row["chosen"] else "normal")
    # Names would lie on top of each other where variants are alike: they stand beside.
    names = [f"{number:2}  {row['name']}  {row['megabytes']:.1f} MB{'  (chosen)' if row['chosen'] else ''}" for number, row in enumerate(ordered, 1)]
    axes.text(1.02, 1, "\n".join(names), transform=axes.transAxes, va="top", fontsize=9, linespacing=1.5)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds an answer, in batches of 32 (less is cheaper)")
    axes.set_ylabel(f"{metric} on validation, 95 % interval")
    axes.set_title(title)
    axes.margins(0.15)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
    return path
