"""The data set of the query classifier: what people searched, and the category that they then chose.

One SQL statement labels the searches (`sql/labels/query_categories.sql` says how); here queries get one spelling, rare
categories join their parents, and the days are split: train < valid < test.
"""

import json
import tomllib
import zlib
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecomrec import database, features
from ecomrec.errors import InputError
from ecomrec.queries import normalise
from ecomrec.settings import Settings

RECIPE = Path(__file__).parent / "recipes" / "query_classifier.toml"
SPLITS = ("train", "valid", "test")
UNLABELLED = 50_000  # queries of the training days, with or without a label, that are kept for students of the model


def recipe(path: Path = RECIPE) -> dict:
    """The recipe of the query classifier by section: labels, train, compress, evaluate."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def build(settings: Settings, day: str, folder: Path) -> dict:
    """Labels the searches of the last `settings.history_days` days up to and including `day`.

    Writes `folder/queries.parquet` (query, category, weight, count, split: one row per split, query and category) and
    `folder/labels.json`, and `folder/unlabelled.parquet`: distinct queries of the training days, whether they led to something or not: what a
    compressed student learns the trained model's answers from. Returns what labels.json holds, without the list of categories. A new shop, with few searches and
    none in the training days that led to anything, starts from its products' titles. Raises InputError when none of many searches led to anything.
    """
    rules = recipe()["labels"]
    last = date.fromisoformat(day)
    days = {"first": last - timedelta(days=settings.history_days - 1), "last": last}
    valid, test = held_out_from(settings, last)
    weights = {name: rules[name] for name in ("click", "cart", "purchase")}
    types = {"day": pa.date32(), "query": pa.string(), "category": pa.string(), "weight": pa.float64(), "count": pa.int64(), "simulated": pa.int64()}
    with database.connect(settings.shop_dsn, application="ecomrec labels") as connection:
        totals = database.query(connection, "labels/searches", days)[0]
        database.execute(connection, "labels/examined", {**days, "last": valid - timedelta(days=1)})
        labelled = database.table(connection, "labels/query_categories", {**days, **weights, "valid": valid, "test": test}, types)
        features.check("labels/query_categories", labelled.column_names)
        silent = database.query(connection, "labels/unlabelled", {**days, "last": valid - timedelta(days=1), "most": UNLABELLED})
        features.check("labels/unlabelled", silent[0] if silent else ())
        asked = sorted({normalise(row["query"] or "") for row in silent} - {""})
        pq.write_table(pa.table({"query": pa.array(asked, pa.string())}), folder / "unlabelled.parquet")
        learned = labelled.filter(pc.less(labelled["day"], pa.scalar(valid))).group_by("category").aggregate([("count", "sum")])
        support = dict(zip(learned["category"].to_pylist(), learned["count_sum"].to_pylist(), strict=True))
        if not back_off(support, rules["min_support"]) and totals["searches"] < rules["titles_below"]:
            totals["titles"] = True
            titles = database.query(connection, "labels/titles", {"last": last})
            features.check("labels/titles", titles[0] if titles else ())
            labelled = by_title(titles, settings, last)
    return write(settings, day, labelled, totals, folder)


def held_out_from(settings: Settings, last: date) -> tuple[date, date]:
    """The first validation day and the first test day."""
    test = last - timedelta(days=settings.test_days - 1)
    return test - timedelta(days=settings.valid_days), test


def by_title(rows: list[dict], settings: Settings, last: date) -> pa.Table:
    """Titles as if they had been searched: one in ten on the first test day, one in ten on the first validation day, the rest before.

    A title is always in the same part, so the same title never trains and tests.
    """
    valid, test = held_out_from(settings, last)
    parts = {0: test, 1: valid}
    days = [parts.get(zlib.crc32(normalise(row["query"]).encode()) % 10, valid - timedelta(days=1)) for row in rows]
    return pa.table({"day": pa.array(days, pa.date32()), **{name: [row[name] for row in rows] for name in ("query", "category", "weight", "count", "simulated")}})


def write(settings: Settings, day: str, labelled: pa.Table, totals: dict, folder: Path) -> dict:
    """The same from labelled rows (day, query, category, weight, count, simulated) and `{"searches", "simulated"}`, and `"titles": True` where they are titles."""
    rules = recipe()["labels"]
    last = date.fromisoformat(day)
    valid, test = held_out_from(settings, last)
    merged: dict[tuple[str, str, str], list[float]] = {}
    spelling: dict[str, str] = {}
    labels = Counter(searches=0, simulated=0)
    for row in database.rows(labelled):
        typed = row["query"] or ""
        query = spelling[typed] if typed in spelling else spelling.setdefault(typed, normalise(typed))
        if not query:
            continue
        split = "test" if row["day"] >= test else "valid" if row["day"] >= valid else "train"
        sums = merged.setdefault((split, query, row["category"]), [0.0, 0])
        sums[0] += row["weight"]
        sums[1] += row["count"]
        labels.update(searches=row["count"], simulated=row["simulated"])
    support = Counter()
    for (split, _, category), (_, count) in merged.items():
        if split == "train":
            support[category] += count
    joined, kept = back_off(support, rules["min_support"]), Counter()
    final: dict[tuple[str, str, str], list[float]] = {}
    dropped = 0
    for (split, query, category), (weight, count) in merged.items():
        target = joined.get(category)
        if target is None and split == "train":
            dropped += count
            continue
        # On held-out days an unknown category stays as it is: the model misses it, and the figures must say so.
        sums = final.setdefault((split, query, target or category), [0.0, 0])
        sums[0] += weight
        sums[1] += count
        kept[split] += count
    if not kept["train"] and dropped:
        raise InputError(f"the {dropped:,} labelled searches of the training days before {valid} are too few for any category: each needs {rules['min_support']}",
                         "load more days, or lower [labels] min_support in query_classifier.toml")
    if not kept["train"]:
        raise InputError(f"no search of the training days before {valid} led to a click, a cart or a purchase of a known product "
                         f"({totals['searches']:,} searches up to {day})", "load more days, or train only the recommender")
    keys = sorted(final, key=lambda key: (SPLITS.index(key[0]), key[1], key[2]))
    pq.write_table(pa.table({"query": [key[1] for key in keys], "category": [key[2] for key in keys],
                             "weight": pa.array([float(final[key][0]) for key in keys], pa.float64()),
                             "count": pa.array([int(final[key][1]) for key in keys], pa.int64()),
                             "split": [key[0] for key in keys]}), folder / "queries.parquet")
    summary = {
        "day": day, "searches": totals["searches"], "labelled": labels["searches"], "dropped": dropped, "titles": totals.get("titles", False),
        "simulated": round(labels["simulated"] / labels["searches"], 6) if labels["searches"] else 0.0,
        "rows": {split: sum(key[0] == split for key in keys) for split in SPLITS},
        "searches_by_split": {split: kept[split] for split in SPLITS},
        "first_day": {"train": str(last - timedelta(days=settings.history_days - 1)), "valid": str(valid), "test": str(test)},
        "categories": len({key[2] for key in keys if key[0] == "train"}), "joined_parent": sum(a != b for a, b in joined.items()),
    }
    names = sorted({key[2] for key in keys if key[0] == "train"})
    (folder / "labels.json").write_text(json.dumps({**summary, "category_names": names}, indent=1, sort_keys=True), encoding="utf-8")
    return summary


def back_off(support: dict[str, int], minimum: int) -> dict[str, str]:
    """Category → itself, or the nearest parent path that has `minimum` labels with what joins it; rarer roots are left out."""
    counts, moved = Counter(support), {}
    for depth in range(max((category.count("/") for category in support), default=0), -1, -1):
        for category in sorted(name for name in counts if name.count("/") == depth and counts[name] < minimum):
            moved[category] = category.rpartition("/")[0]
            if moved[category]:
                counts[moved[category]] += counts[category]
            del counts[category]
    target = {}
    for category in support:
        now = category
        while now and now in moved:
            now = moved[now]
        if now:
            target[category] = now
    return target
