"""A model's card (Mitchell et al. 2019): what it is for, what it learned from, how good it is and where it is not to be trusted."""

import json
from pathlib import Path

from markdown_it import MarkdownIt

from ecomrec import artifact, facts, gates

INTENDED = {
    "recommender": "Ranks a shop's products for each of its users, in batch. Not for prices, credit, or anything about people but what to show them.",
    "query_classifier": "Names the category that a shopper's query means, for routing and filtering. Not for judging who typed it.",
    "retriever": "Finds a shop's products for a query by meaning and by words. Not for texts other than queries and products.",
}
LIMITS = {
    "recommender": "Knows only what the logs show: people who were never shown a product cannot have bought it. A product's first days rest on its text.",
    "query_classifier": "Learned from what was chosen after a query, with all of the search engine's own habits in it. Short queries may mean several things.",
    "retriever": "Learned from the shop's own products; another shop's need another training. Long queries are cut.",
}
STYLE = ("<!doctype html><meta charset=utf-8><style>:root{color-scheme:light dark}body{font:14px/1.6 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
         "table{border-collapse:collapse}td,th{border:1px solid #8885;padding:.3rem .6rem;text-align:left}</style>")


def markdown(family: str, version: str, folder: Path, decision: dict) -> str:
    """The card of the judged model in `folder`, as Markdown."""
    manifest, known = artifact.read_manifest(folder), facts.read(folder)
    measured = json.loads((folder / "evaluation.json").read_text(encoding="utf-8")) if (folder / "evaluation.json").is_file() else {}
    means = "\n".join(f"| {name} | {value:.4f} |" for name, value in sorted(decision["means"].items(), key=lambda pair: -pair[1]))
    split = measured.get("split", {})
    lines = [f"# {family} {version}", "", f"**For**: {INTENDED[family]}", "", f"**Limits**: {LIMITS[family]}", "",
             f"**Kind**: {manifest['kind']}. **Learned from** days up to {manifest.get('day', 'unknown')}"
             + (f", tested on {split['test_from']} to {split['last_day']}" if split else "") + f", seed {measured.get('seed', 'unknown')}.", ""]
    if measured.get("simulated"):
        lines += [f"**{measured['simulated']:.0%} of what it learned from is SIMULATED**, so its figures say little about real people.", ""]
    lines += ["## Quality", "", f"{decision['metric']} on the held-out days, the same units for all:", "", "| model | mean |", "|---|---:|", means, "",
              *_variants(manifest.get("compression", {}).get("variants", [])), "## Facts", "", "| | |", "|---|---:|", *(f"| {name} | {value:,.5g} |" for name, value in sorted(known.items())), ""]
    return "\n".join(lines) + "\n" + gates.report("Gates, slices and spoilt inputs", decision["verdicts"]).replace("# ", "## ", 1)


def _variants(rows: list[dict]) -> list[str]:
    """What compression tried, as a table."""
    if not rows:
        return []
    lines = ["## Compressed variants", "", "Measured on validation; `torch` is the trained model itself, for comparison.", "",
             "| variant | quality | kept | a second, by 32 | one, p95 ms | MB | |", "|---|---:|---:|---:|---:|---:|---|"]
    for row in rows:
        figures = [""] * 5 if row["quality"] is None else [f"{row['quality']:.4f}", f"{row['share']:.1%} ({row['low']:.1%} to {row['high']:.1%})", f"{row['per_s_32']:,.0f}",
                                                         f"{row['p95_ms']:.2f}", f"{row['megabytes']:.1f}"]
        lines.append(f"| {'**' + row['name'] + '**' if row['chosen'] else row['name']} | " + " | ".join(figures) + f" | {row['technique'] + ': ' if row['technique'] else ''}{row['why']} |")
    return [*lines, ""]


def html(text: str) -> str:
    """The same as a page of its own."""
    return STYLE + MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
