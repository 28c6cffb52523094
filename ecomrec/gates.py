"""Gates: is the candidate proven better than the baselines and no worse than the champion, on the same held-out units?

A gate that asks for proof (floor, baselines, champion) refuses unless it passes; all of them must, so no level is shared
out among them. A gate that looks for harm (slices, spoilt inputs) refuses only on proof, and the slices share one 5 %. Limits
(`ecomrec.facts`: data, cost, repeatability) are plain numbers; what lies beyond refuses.
"""

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ecomrec import database, facts
from ecomrec.bootstrap import Figures, interval, resample, simultaneous

RULES = Path(__file__).parent / "recipes" / "gates.toml"
SEEN = (1.96 + 0.84) ** 2  # a difference is found with 80 % power at the 95 % level


@dataclass(frozen=True)
class Verdict:
    """One gate's answer. `low`/`high`: 95 % interval of `value`, in the unit of `threshold`. refuses: it alone keeps the candidate out."""

    gate: str
    verdict: str  # pass | fail | inconclusive
    value: float
    low: float
    high: float
    threshold: float
    sentence: str
    refuses: bool


def decide(family: str, folder: Path, seed: int, rules_file: Path = RULES) -> dict:
    """Judges the candidate in `folder` by its `evaluation.parquet` (one row per unit; columns as in `ecomrec.evaluation`).

    Returns `{"passed", "winner", "verdicts", "means"}`. `winner` is "candidate" when no gate refuses it; else the best
    baseline that can serve (has a folder under `baselines/`) and is no worse than the champion; else None: what is in
    service stays. None too where nobody was measured: there all tie at 0, and no column tells whether there is a champion.
    """
    rules = rules_of(family, rules_file)
    table = pq.read_table(folder / "evaluation.parquet")
    weight = table["weight"].to_numpy() if "weight" in table.column_names else np.ones(len(table))
    columns = {name: table[name].to_numpy() for name in table.column_names if name not in ("unit", "weight")}
    against = "champion" if "champion" in columns else rules["must_beat"][-1]
    judged = {"candidate", "champion", against, *rules["must_beat"]}  # the other models are shown, and decide nothing
    figures = resample({name: values for name, values in columns.items() if name.rpartition("|")[2] in judged and ("|" not in name or name.endswith(("|candidate", f"|{against}")))}, weight, seed)
    verdicts = [_floor(rules, figures)]
    verdicts += [_beats(rules, name, figures) for name in rules["must_beat"]]
    has_champion = "champion" in figures.means
    if has_champion:
        verdicts.append(_not_worse("not_worse_than_champion", rules, "candidate", figures))
    verdicts += _slices(rules, figures, against)
    verdicts += _robust(rules, figures)
    best = max(figures.means[name] for name in rules["must_beat"])
    known = facts.read(folder)
    if known and best:
        known["gain"] = figures.means["candidate"] / best - 1
    verdicts += _limits(rules, known)
    passed = not any(verdict.refuses for verdict in verdicts)
    servable = [name for name in rules["must_beat"] if figures.units["candidate"] and (folder / "baselines" / name).is_dir()
                and (not has_champion or not _not_worse("", rules, name, figures).refuses)]
    winner = "candidate" if passed else max(servable, key=figures.means.__getitem__, default=None)
    means = {name: _mean(np.asarray(values, dtype=np.float64), weight) for name, values in columns.items() if "|" not in name}
    return {"family": family, "metric": rules["metric"], "passed": passed, "winner": winner, "verdicts": [asdict(verdict) for verdict in verdicts], "means": means}


def rules_of(family: str, rules_file: Path = RULES) -> dict:
    """The family's section of gates.toml."""
    return tomllib.loads(rules_file.read_text(encoding="utf-8"))[family]


def record(connection, family: str, model_version: str, verdicts: list[dict]) -> None:
    """Writes the verdicts of `model_version` to ops.gate_results, replacing what an earlier try wrote."""
    database.execute(connection, "gates/clear", {"family": family, "model_version": model_version})
    for verdict in verdicts:
        database.execute(connection, "gates/record", {"family": family, "model_version": model_version, **verdict})


def report(title: str, verdicts: list[dict]) -> str:
    """The verdicts as Markdown: what refuses first, each with its numbers and its sentence."""
    refusing = [verdict["gate"] for verdict in verdicts if verdict["refuses"]]
    lines = [f"# {title}", "", f"Refused by {', '.join(refusing)}." if refusing else "No gate refuses it.", "",
             "| gate | verdict | value | 95 % interval | threshold | in words |", "|---|---|---:|---|---:|---|"]
    for row in sorted(verdicts, key=lambda verdict: not verdict["refuses"]):
        lines.append(f"| {row['gate']} | {row['verdict']}{' (refuses)' if row['refuses'] else ''} | {row['value']:.4f} | "
                     f"{row['low']:.4f} to {row['high']:.4f} | {row['threshold']:.4f} | {row['sentence']} |")
    return "\n".join(lines) + "\n"


def _floor(rules: dict, figures: Figures) -> Verdict:
    value, (low, high), units = figures.means["candidate"], interval(figures.draws["candidate"]), figures.units["candidate"]
    verdict = "inconclusive" if units < rules["min_units"] else "pass" if value >= rules["floor"] else "fail"
    sentence = (f"{rules['metric']} of the candidate is {value:.4f} ({low:.4f} to {high:.4f}) over {units:,} {_units(rules)}; "
                f"the floor is {rules['floor']:.4f}.")
    return Verdict("floor", verdict, value, low, high, rules["floor"], sentence, verdict != "pass")


def _beats(rules: dict, name: str, figures: Figures) -> Verdict:
    value = figures.means["candidate"] - figures.means[name]
    low, high = interval(figures.draws["candidate"] - figures.draws[name])
    verdict = _proof(figures.units["candidate"] >= rules["min_units"], low, high, 0.0)
    proven = {"pass": "proven better than", "fail": "proven worse than", "inconclusive": "not proven better than"}[verdict]
    sentence = (f"The candidate is {proven} {name}: {rules['metric']} differs by {value:+.4f} ({low:+.4f} to {high:+.4f}) "
                f"over {figures.units['candidate']:,} {_units(rules)}.")
    return Verdict(f"beats_{name}", verdict, value, low, high, 0.0, sentence, verdict != "pass")


def _not_worse(gate: str, rules: dict, name: str, figures: Figures) -> Verdict:
    """Non-inferiority: the whole interval of the relative difference to the champion lies above -champion_margin."""
    value, draws = _relative(figures, name, "champion")
    (low, high), units, margin = interval(draws), figures.units[name], rules["champion_margin"]
    verdict = _proof(units >= rules["min_units"], low, high, -margin)
    said = {"pass": "no worse than the champion", "fail": "proven worse than the champion", "inconclusive": "not proven to be as good as the champion"}[verdict]
    needed = int(np.ceil(units * SEEN * float(np.var(draws)) / margin ** 2))
    sentence = (f"The {name} is {said}: {rules['metric']} differs by {value:+.1%} ({low:+.1%} to {high:+.1%}), {margin:.0%} less is allowed. "
                f"A true difference of {margin:.0%} is seen 4 times in 5 with {needed:,} {_units(rules)}; there were {units:,}.")
    return Verdict(gate, verdict, value, low, high, -margin, sentence, verdict != "pass")


def _slices(rules: dict, figures: Figures, against: str) -> list[Verdict]:
    slices = [name.rpartition("|")[0] for name in figures.means if name.endswith("|candidate") and not name.startswith("robust: ")]
    names = [name for name in slices if f"{name}|{against}" in figures.means]
    large = [name for name in names if figures.units[f"{name}|candidate"] >= rules["slices"]["min_units"] and figures.means[f"{name}|{against}"] > 0]
    found = [_relative(figures, f"{name}|candidate", f"{name}|{against}") for name in large]
    bands = simultaneous([value for value, _ in found], [draws for _, draws in found])
    verdicts = []
    for name, (value, _), (low, high) in zip(large, found, bands, strict=True):
        limit = _slice_limit(rules, name)
        verdict = "fail" if high < limit else "pass" if low > limit else "inconclusive"
        said = {"fail": "is proven to lose too much", "pass": "is well", "inconclusive": "is not proven either way"}[verdict]
        verdicts.append(Verdict(f"slice: {name}", verdict, value, low, high, limit,
                                f"{name[0].upper() + name[1:]}: {value:+.1%} against {against} ({low:+.1%} to {high:+.1%}, {figures.units[f'{name}|candidate']:,} "
                                f"{_units(rules)}), {-limit:.0%} less is allowed; the slice {said}.", verdict == "fail"))
    for name in names:
        if name not in large:
            verdicts.append(Verdict(f"slice: {name}", "inconclusive", 0.0, 0.0, 0.0, _slice_limit(rules, name),
                                    f"{name[0].upper() + name[1:]}: {figures.units[f'{name}|candidate']:,} {_units(rules)}, too few to decide anything.", False))
    return verdicts


def _slice_limit(rules: dict, name: str) -> float:
    """What a slice may lose, below 0: a part of the products more than a group of people, where the recipe says so."""
    limits = rules["slices"]
    return -limits.get("max_loss_products", limits["max_loss"]) if "products" in name and not name.startswith("segment ") else -limits["max_loss"]


def _robust(rules: dict, figures: Figures) -> list[Verdict]:
    """What is left of the quality on spoilt inputs, as a share of the reference that gates.toml names, on the same units."""
    verdicts = []
    for name, (reference, least) in rules.get("robust", {}).items():
        column = f"robust: {name}|candidate"
        if column not in figures.means:
            continue
        loss, draws = _relative(figures, column, reference)
        kept, (low, high) = 1 + loss, interval(1 + draws)
        verdict = "inconclusive" if figures.units[column] < rules["min_units"] else "fail" if high < least else "pass" if low > least else "inconclusive"
        sentence = f"With {name}, the candidate keeps {kept:.0%} ({low:.0%} to {high:.0%}) of what {reference} reaches; {least:.0%} is asked."
        verdicts.append(Verdict(f"robust: {name}", verdict, kept, low, high, least, sentence, verdict == "fail"))
    return verdicts


def _limits(rules: dict, known: dict[str, float]) -> list[Verdict]:
    """Facts that may not go too far; one that is not known is not judged."""
    verdicts = []
    for name, rule in rules.get("limits", {}).items():
        if (value := known.get(rule["fact"])) is None:
            continue
        least, most = rule.get("least", -np.inf), rule.get("most", np.inf)
        verdict = "pass" if least <= value <= most else "fail"
        asked = f"at least {least:,.4g}" if "least" in rule else f"at most {most:,.4g}"
        verdicts.append(Verdict(f"limit: {name}", verdict, value, value, value, rule.get("least", rule.get("most")), f"{rule['words']} is {value:,.4g}; {asked} is asked.", verdict == "fail"))
    return verdicts


def _relative(figures: Figures, name: str, against: str) -> tuple[float, np.ndarray]:
    """Relative difference of two means, and over the resamples; 0 where there is nothing to compare with."""
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = np.nan_to_num(figures.draws[name] / figures.draws[against] - 1, posinf=0.0, neginf=0.0)
    return (figures.means[name] / figures.means[against] - 1 if figures.means[against] else 0.0), draws


def _proof(enough: bool, low: float, high: float, threshold: float) -> str:
    return "inconclusive" if not enough else "pass" if low > threshold else "fail" if high < threshold else "inconclusive"


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    known = ~np.isnan(values)
    return float(np.average(values[known], weights=weight[known])) if weight[known].sum() else 0.0


def _units(rules: dict) -> str:
    return {"user": "users", "query": "queries"}[rules["unit"]]
