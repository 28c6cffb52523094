"""What the gates ask beyond the mean: the champion on the same units, slices, and what is left when the input is spoilt.

Adds columns to the `evaluation.parquet` of a family: `champion`, `<slice>|<model>` and `robust: <name>|<model>`. NaN: the unit
has no part in it. A unit is a user or a query, one row each.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ecomrec import artifact, dataset, metrics
from ecomrec.heldout import LISTS, K, held_out, popular
from ecomrec.models import Histories, loading
from ecomrec.queries import misspell
from ecomrec.recommend import selling
from ecomrec.settings import Settings

Echo = Callable[[str], None]
SAMPLE = 2000          # units on which spoilt inputs are tried
LIGHT, HEAVY = 10, 50  # purchases known of a light user at most, of a heavy one at least
HEAD = 0.2             # share of the universe, best-selling first, that is head
GROUPS = 6             # segments of users, and shelves of products, that are looked at one by one
AGES = (7, 14, 28)     # days that lists may be old
INJECTED = 10          # best-sellers that somebody slips into every history


def extend(settings: Settings, family: str, data: Path, folder: Path, champion: Path | None, echo: Echo = print) -> list[str]:
    """Adds the columns to `folder`/evaluation.parquet; returns their names. A family without a lens here gets none."""
    lens = {"recommender": _recommender, "query_classifier": _query_classifier, "retriever": _retriever}.get(family)
    table = pq.read_table(folder / "evaluation.parquet")
    if lens is None or not len(table):
        return []
    table = table.select([name for name in table.column_names if name != "champion" and "|" not in name])  # a second try starts anew
    found = lens(settings, data, folder, champion, table)
    for name, values in found.items():
        table = table.append_column(name, pa.array(np.asarray(values, dtype=np.float32)))
    pq.write_table(table, folder / "evaluation.parquet")
    echo(f"evaluation: {len(found)} columns beside the means: {', '.join(sorted({name.split('|')[0] for name in found}))}")
    return list(found)


def _recommender(settings: Settings, place: Path, folder: Path, champion: Path | None, table: pa.Table) -> dict[str, np.ndarray]:
    data = dataset.load(place)
    held = held_out(data, dataset.TEST)
    candidate = loading.load(folder, settings.threads)
    with np.load(folder / LISTS, allow_pickle=False) as kept:
        lists = {name: kept[name] for name in kept.files if name in table.column_names}
    columns: dict[str, np.ndarray] = {}
    if champion is not None:
        lists["champion"] = recommend(_as_served(settings, data, champion), data.item_ids, held["histories"], held["day"], held["exclude"])
        columns["champion"] = _quality(lists["champion"], held["offsets"], held["items"])
    known = np.diff(held["histories"].offsets)
    sold = np.bincount(data.item[(data.part < dataset.TEST) & (data.item < len(data.item_ids))], minlength=len(data.item_ids))
    head = np.zeros(max(int(held["items"].max(initial=0)), len(sold)) + 1, dtype=bool)
    head[np.argsort(-sold, kind="stable")[:max(1, int(HEAD * len(sold)))]] = True
    owner = np.repeat(np.arange(len(known)), np.diff(held["offsets"]))
    of_user = dataset.segments(place)
    segments = _largest(np.array([of_user.get(user, "") for user in table["unit"].to_pylist()]))
    shelves = _shelves(place, len(sold), int(held["items"].max(initial=0)))
    parts = {"head products": head[held["items"]], "tail products": ~head[held["items"]] & (held["items"] < len(sold)),
             **{f"products of {shelf}": rows for shelf, rows in _largest(shelves[held["items"]]).items()}}
    products = {part: metrics.wanted(owner[rows], held["items"][rows]) for part, rows in parts.items()}
    for name, ranked in lists.items():
        mean = _quality(ranked, held["offsets"], held["items"])
        for part, rows in (("new users", known == 0), ("light users", (known > 0) & (known <= LIGHT)), ("heavy users", known >= HEAVY)):
            columns[f"{part}|{name}"] = np.where(rows, mean, np.nan)
        for segment, rows in segments.items():
            columns[f"segment {segment}|{name}"] = np.where(rows, mean, np.nan)
        for part, (users, offsets, items) in products.items():
            columns[f"{part}|{name}"] = np.full(len(known), np.nan)
            columns[f"{part}|{name}"][users] = _quality(ranked[users], offsets, items)
    drawn = np.sort(np.random.default_rng(settings.seed).permutation(len(known))[:SAMPLE])
    best = np.argsort(-sold, kind="stable")[:INJECTED].astype(np.int32)
    spoilt = {"no history": _forget, "half of the history": _truncate, "shuffled history": _shuffle, "best-sellers slipped in": lambda rows: _inject(rows, best)}
    # A publication that is `age` days old, or one of whose days were late, knows nothing newer.
    spoilt |= {f"lists {age} days old": lambda rows, age=age: _rows(rows, rows.days <= held["day"] - age) for age in AGES}
    for name, spoil in spoilt.items():
        given = _joined([spoil(_one(held["histories"], row)) for row in drawn])
        ranked = recommend(candidate, data.item_ids, given, held["day"], held["exclude"])
        values = np.full(len(known), np.nan)
        offsets = np.concatenate(([0], np.cumsum(np.diff(held["offsets"])[drawn])))
        items = held["items"][np.isin(owner, drawn)]
        values[drawn] = _quality(ranked, offsets, items)
        columns[f"robust: {name}|candidate"] = values
    return columns


def _as_served(settings: Settings, data: dataset.Dataset, champion: Path):
    """The champion with what sold just before the test part, as a publication of that day would have it: with what sold when it was trained it would
    look worse than it is."""
    model, days = loading.load(champion, settings.threads), artifact.facts(champion).get("popularity_days", 0)
    if not days:
        return model
    place, sold = _places(model.item_ids, data.item_ids), popular(data, dataset.TEST, days)
    return selling.now(model, np.where(place >= 0, sold[place], 0).astype(np.float32))


def _largest(groups: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of each of the GROUPS largest groups, bool [N], by name; no name is none. In a name `|` is a space, as it parts a slice
    from its model in a column's; two that become one name are numbered."""
    names, counts = np.unique(groups[groups != ""], return_counts=True)
    found: dict[str, np.ndarray] = {}
    for name in sorted(names[np.argsort(-counts, kind="stable")[:GROUPS]].tolist(), key=lambda name: "|" in name):  # who has none keeps its own name
        plain = name.replace("|", " ")
        found[next(free for free in (plain, *(f"{plain} ({n})" for n in range(2, GROUPS + 1))) if free not in found)] = groups == name
    return found


def _shelves(place: Path, items: int, last: int) -> np.ndarray:
    """The first level of each item's category; items beyond the universe have none."""
    names = [category.split("/")[0] for category in pq.read_table(place / "items.parquet")["category"].to_pylist()]
    return np.array([*names, *[""] * (max(last + 1, items) - len(names))])


def recommend(model, item_ids: np.ndarray, given: Histories, day: int, exclude: bool) -> np.ndarray:
    """The model's K best for `given`, both in the numbering of `item_ids`, int32 [U, K].

    A champion of last month has another universe: what it does not know is left out of the histories, and what only it
    knows fills places that cannot hit.
    """
    if len(model.item_ids) == len(item_ids) and (model.item_ids == item_ids).all():
        return model.recommend(given, day, K, exclude)[0]
    to_model = _places(item_ids, model.item_ids)
    items = to_model[given.items]
    keep, owner = items >= 0, np.repeat(np.arange(len(given)), np.diff(given.offsets))
    offsets = np.concatenate(([0], np.cumsum(np.bincount(owner[keep], minlength=len(given))))).astype(np.int64)
    own = Histories(offsets, items[keep].astype(np.int32), given.days[keep], given.times[keep], given.weights[keep])
    ranked = model.recommend(own, day, min(K, len(model.item_ids)), exclude)[0]
    back = np.append(_places(model.item_ids, item_ids), -1)
    return np.pad(back[ranked], ((0, 0), (0, K - ranked.shape[1])), constant_values=-1).astype(np.int32)


def _places(names: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Index of each name in `among`, -1 where it is not."""
    order = np.argsort(among)
    place = np.minimum(np.searchsorted(among, names, sorter=order), len(among) - 1)
    return np.where(among[order[place]] == names, order[place], -1)


def _quality(ranked: np.ndarray, offsets: np.ndarray, items: np.ndarray) -> np.ndarray:
    return metrics.per_user(ranked, offsets, items, K)[f"NDCG@{K}"]


def _one(given: Histories, row: int) -> Histories:
    return given.users(int(row), int(row) + 1)


def _rows(given: Histories, rows: np.ndarray | slice) -> Histories:
    items = given.items[rows]
    return Histories(np.array([0, len(items)]), items, given.days[rows], given.times[rows], given.weights[rows])


def _forget(given: Histories) -> Histories:
    return _rows(given, slice(0, 0))


def _truncate(given: Histories) -> Histories:
    return _rows(given, slice(len(given.items) // 2, None))


def _shuffle(given: Histories) -> Histories:
    return replace(given, items=np.random.default_rng(len(given.items)).permutation(given.items))


def _inject(given: Histories, items: np.ndarray) -> Histories:
    last = given.days[-1:].repeat(len(items)), given.times[-1:].repeat(len(items))
    if not len(given.items):
        return given
    return Histories(np.array([0, len(given.items) + len(items)]), np.concatenate((given.items, items)), np.concatenate((given.days, last[0])),
                     np.concatenate((given.times, last[1])), np.concatenate((given.weights, np.ones(len(items), dtype=np.float32))))


def _joined(parts: list[Histories]) -> Histories:
    sizes = [len(part.items) for part in parts]
    return Histories(np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), *(np.concatenate([getattr(part, name) for part in parts])
                                                                                 for name in ("items", "days", "times", "weights")))


def _query_classifier(settings: Settings, place: Path, folder: Path, champion: Path | None, table: pa.Table) -> dict[str, np.ndarray]:
    from ecomrec import query_classifier

    test, known = query_classifier.read(place, "test"), set(query_classifier.read(place, "train")["query"])
    columns: dict[str, np.ndarray] = {}
    if champion is not None:
        columns["champion"] = _right(classifier(champion, settings), test["query"], test["label"])
    shelves = np.array([label.split("/")[0] for label in test["label"]])
    masks = {"queries never searched before": np.array([query not in known for query in test["query"]], dtype=bool),
             **{f"queries for {shelf}": rows for shelf, rows in _largest(shelves).items()}, **_lengths(test["query"])}
    columns |= _sliced(table, columns, masks)
    rows, queries = _typos(test["query"], settings.seed)
    values = np.full(len(test["query"]), np.nan)
    values[rows] = _right(classifier(folder, settings), queries, [test["label"][row] for row in rows])
    columns["robust: a typing error|candidate"] = values
    return columns


def _retriever(settings: Settings, place: Path, folder: Path, champion: Path | None, table: pa.Table) -> dict[str, np.ndarray]:
    from ecomrec import retriever
    from ecomrec.search import hybrid
    from ecomrec.search.lexical import Lexical

    held = retriever.test_queries(settings, place)
    lexical = Lexical(held["texts"])
    columns: dict[str, np.ndarray] = {}
    if champion is not None:
        columns["champion"] = retriever.quality(hybrid.load(champion, settings.threads), held, lexical)
    columns |= _sliced(table, columns, _lengths(held["queries"]))
    rows, queries = _typos(held["queries"], settings.seed)
    typed = list(held["queries"])
    for row, query in zip(rows, queries, strict=True):
        typed[row] = query
    values = retriever.quality(hybrid.load(folder, settings.threads), held, lexical, typed)
    columns["robust: a typing error|candidate"] = np.where(np.isin(np.arange(len(typed)), rows), values, np.nan)
    return columns


def _sliced(table: pa.Table, columns: dict[str, np.ndarray], masks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every model's values of the units in each mask; NaN outside."""
    models = {name: table[name].to_numpy() for name in table.column_names if name not in ("unit", "weight")} | columns
    return {f"{part}|{name}": np.where(mask, values, np.nan) for part, mask in masks.items() for name, values in models.items()}


def _lengths(queries: list[str]) -> dict[str, np.ndarray]:
    words = np.array([len(query.split()) for query in queries])
    return {"queries of one word": words == 1, "queries of four words and more": words >= 4}


def _typos(queries: list[str], seed: int) -> tuple[np.ndarray, list[str]]:
    """SAMPLE of the queries, each with a typing error: their places, ascending, and what was typed."""
    source, rows = random.Random(seed), np.sort(np.random.default_rng(seed).permutation(len(queries))[:SAMPLE])
    return rows, [misspell(queries[row], source) for row in rows]


def classifier(folder: Path, settings: Settings):
    """The query classifier sealed in `folder`, of whichever kind it is."""
    from ecomrec.models import encoder_classifier, ngram_classifier

    kind = artifact.read_manifest(folder)["kind"]
    return (ngram_classifier if kind == ngram_classifier.KIND else encoder_classifier).load(folder, settings.threads)


def _right(model, queries: list[str], labels: list[str]) -> np.ndarray:
    found, _ = model.predict(queries, 1)
    return np.array([float(top[0] == label) for top, label in zip(found, labels, strict=True)])
