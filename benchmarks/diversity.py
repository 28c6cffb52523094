"""What diversity and calibration of the lists cost in accuracy: the curve to choose a strength by.

    python -m benchmarks.diversity [--work FOLDER] [--seed 43]

The default recipe's recommender on the test part of completejourney (next 7 days); lists of ten, re-ranked from the
best forty by the code that publishes (`recommend.lists.select`). Strengths are the values of `diversity` and `calibration` in a shop's rules.

Models are those of `python -m benchmarks.recommender … --work FOLDER`. Replaces the cases diversity.* of results/recommend.json.
"""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks import RESULTS, figure, merged, write
from benchmarks.explanations import trained
from ecomrec import metrics
from ecomrec.dataset import TEST
from ecomrec.heldout import K, held_out
from ecomrec.recommend import lists
from ecomrec.recommend.rules import Context

COMMAND = "python -m benchmarks.diversity"
DIVERSITY, CALIBRATION = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7), (0.25, 0.5, 1.0)


def curve(data, model) -> list[dict]:
    """One row of figures for each strength."""
    held, rows = held_out(data, TEST), []
    given = held["histories"]
    pool, worth = model.recommend(given, held["day"], lists.POOL * K, held["exclude"])
    brand = data.groups["brand"].astype(np.int64)
    catalogue = SimpleNamespace(category=data.groups["category"], top_category=data.groups["shelf"], brand=np.where(brand > 0, brand, -1))
    shelf = lists.shelves(np.asarray(model.popularity, dtype=np.float64))
    people = lists.People(held["users"].astype(str), np.full(len(given), ""), lists.tastes(given, shelf), None)
    for name, values in (("diversity", DIVERSITY), ("calibration", CALIBRATION)):
        for value in values:
            chosen = lists.select(pool, worth, K, Context(**{name: value}), people, SimpleNamespace(caps=[]), catalogue, shelf)
            ranked = np.where(chosen >= 0, np.take_along_axis(pool, np.maximum(chosen, 0), axis=1), -1)
            kinds = np.sort(data.groups["category"][np.maximum(ranked, 0)], axis=1)
            rows.append({"what": name, "strength": value, "ndcg10": float(metrics.per_user(ranked, held["offsets"], held["items"], K)[f"NDCG@{K}"].mean()),
                         "coverage": metrics.coverage(ranked, len(data.item_ids), K), "categories": float(1 + (np.diff(kinds, axis=1) != 0).sum(axis=1).mean()),
                         "unlike_texts": float(metrics.diversity(ranked, model.item_vectors, K).mean())})
    return rows


def draw(rows: list[dict], title: str, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure_, axes = pyplot.subplots(figsize=(6, 4.5), dpi=110)
    for what, colour in (("diversity", "#1d4ed8"), ("calibration", "#c2410c")):
        part = [row for row in rows if row["what"] == what or not row["strength"]]
        axes.plot([row["categories"] for row in part], [row["ndcg10"] for row in part], marker="o", color=colour, label=what)
        for row in part:
            axes.annotate(f"{row['strength']:g}", (row["categories"], row["ndcg10"]), textcoords="offset points", xytext=(4, 5), fontsize=8, color=colour)
    axes.set(title=title, xlabel="different categories in a list of ten", ylabel="NDCG@10, test")
    axes.grid(alpha=0.25)
    axes.legend()
    figure_.tight_layout()
    figure_.savefig(path)
    pyplot.close(figure_)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".ecomrec/benchmark"))
    parser.add_argument("--seed", type=int, default=43)
    asked, name = parser.parse_args(), "completejourney"  # the Amazon sets have one category
    rows = curve(*trained(asked.work, name, asked.seed))
    cases = {f"diversity.{name}.{row['what']}_{row['strength']:g}": {
        "ndcg10": figure(row["ndcg10"], "NDCG@10, test"), "share": figure(row["ndcg10"] / rows[0]["ndcg10"], "of the plain lists' NDCG@10"),
        "coverage": figure(row["coverage"], "of the products on some list"), "categories": figure(row["categories"], "different ones in a list of ten"),
        "unlike_texts": figure(row["unlike_texts"], "1 - mean cosine within a list")} for row in rows}
    print(json.dumps(rows, indent=1), flush=True)
    draw(rows, name, RESULTS / "recommend_diversity.png")
    print(write("recommend", "python -m benchmarks.recommend; " + COMMAND, merged("recommend", lambda key: key.startswith("diversity."), cases)))


if __name__ == "__main__":
    main()
