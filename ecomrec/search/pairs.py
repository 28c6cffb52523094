"""The data set of the retriever: products as text, and which query led to which product, graded and split by time."""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ecomrec import database, features
from ecomrec.errors import InputError
from ecomrec.labels import held_out_from
from ecomrec.queries import normalise
from ecomrec.settings import Settings

PRODUCT = {name: pa.string() for name in ("item_id", "title", "brand", "category", "description", "attributes", "key")}  # ids and titles may look like numbers
RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "retriever.toml"
MOST_CHARACTERS = 600  # of a product's text; the encoder cuts by tokens, BM25 reads all of it
UNSAYABLE = ("width", "height", "depth", "weight", "dimension", "temperature", "humidity", "certification", "compliance")


@dataclass(frozen=True)
class Products:
    """Parallel lists, one entry a product."""

    item_ids: list[str]
    titles: list[str]
    brands: list[str]
    categories: list[str]
    values: list[list[str]]  # attribute values that a shopper might say
    texts: list[str]         # what encoder and BM25 read


def recipe(path: Path = RECIPE) -> dict:
    """The recipe of the retriever by section."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def build(settings: Settings, day: str, folder: Path) -> dict:
    """Reads the catalogue and the last `history_days` days of searches up to and including `day`.

    Writes `items.parquet`, `pairs.parquet` (query, item_id, grade, weight, split), `shown.parquet` (query, item_id: shown, never
    chosen) and `meta.json`; returns the last. A shop without searches gets a data set without pairs: queries are then made from
    product texts. Raises InputError without a product.
    """
    last = date.fromisoformat(day)
    first, (valid, test) = last - timedelta(days=settings.history_days - 1), held_out_from(settings, last)
    days = {"first": first, "last": last}
    with database.connect(settings.shop_dsn, application="ecomrec pairs") as connection:
        items = database.table(connection, "search/products", days, PRODUCT)
        database.execute(connection, "labels/examined", {"first": first, "last": valid - timedelta(days=1)})
        pairs = database.table(connection, "search/pairs", {**days, "valid": valid, "test": test}, {"day": pa.date32(), "query": pa.string(), "item_id": pa.string(), "weight": pa.float64()})
        shown = database.table(connection, "search/shown", {"first": first, "last": valid - timedelta(days=1)}, {"query": pa.string(), "item_id": pa.string()})
    for source, table in (("search/products", items), ("search/pairs", pairs), ("search/shown", shown)):
        features.check(source, table.column_names)
    return write(settings, day, items, pairs, shown, folder)


def write(settings: Settings, day: str, items: pa.Table, pairs: pa.Table, shown: pa.Table, folder: Path) -> dict:
    """The same from tables with the columns of sql/search/{products,pairs,shown}.sql."""
    if not len(items):
        raise InputError("the catalogue has no product", "load it first (DAG ingest_catalog)")
    valid, test = held_out_from(settings, date.fromisoformat(day))
    known, merged = set(items["item_id"].to_pylist()), {}
    for row in database.rows(pairs):
        query = normalise(row["query"] or "")
        if query and row["item_id"] in known:
            split = "test" if row["day"] >= test else "valid" if row["day"] >= valid else "train"
            found = merged.setdefault((split, query, row["item_id"]), [0, 0.0, 0])
            merged[split, query, row["item_id"]] = [max(found[0], row["grade"]), found[1] + row["weight"], found[2] + row["count"]]
    keys = sorted(merged)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(items, folder / "items.parquet")
    pq.write_table(pa.table({"query": [key[1] for key in keys], "item_id": [key[2] for key in keys], "split": [key[0] for key in keys],
                             "grade": pa.array([merged[key][0] for key in keys], pa.int8()),
                             "weight": pa.array([float(merged[key][1]) for key in keys], pa.float64()),
                             "count": pa.array([merged[key][2] for key in keys], pa.int64())}), folder / "pairs.parquet")
    pq.write_table(pa.table({"query": [normalise(query or "") for query in shown["query"].to_pylist()], "item_id": shown["item_id"]}), folder / "shown.parquet")
    meta = {"day": day, "products": len(items), "pairs": {split: sum(key[0] == split for key in keys) for split in ("train", "valid", "test")},
            "queries": {split: len({key[1] for key in keys if key[0] == split}) for split in ("train", "valid", "test")}, "shown": len(shown),
            "valid_from": str(valid), "test_from": str(test)}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1, sort_keys=True), encoding="utf-8")
    return meta


def products(table: pa.Table) -> Products:
    """Products of a table with the columns of sql/search/products.sql; a product without a title is read by what else it has."""
    rows = table.to_pylist()
    values = [sayable(row["attributes"]) for row in rows]
    texts = [text(row["title"] or "", row["brand"] or "", row["category"] or "", said, row["description"] or "") for row, said in zip(rows, values, strict=True)]
    return Products([row["item_id"] for row in rows], [row["title"] or "" for row in rows], [row["brand"] or "" for row in rows],
                    [row["category"] or "" for row in rows], values, texts)


def text(title: str, brand: str, category: str, values: Iterable[str], description: str) -> str:
    """What a product says of itself, the most telling first, nothing twice: title, category's words, brand, description, attributes."""
    parts, said = [title] if title else [], set(title.lower().split())
    for part in (category.replace("/", " "), brand, *values):
        fresh = [word for word in part.split() if word.lower() not in said]
        said.update(word.lower() for word in fresh)
        parts.append(" ".join(fresh))
    parts.insert(3, description if description != title else "")
    return normalise(". ".join(filter(None, parts)), MOST_CHARACTERS)


def sayable(attributes: str | None) -> list[str]:
    """Short values of the attributes (a JSON object) that a shopper might type: words, not measures or yes and no."""
    try:
        found = json.loads(attributes or "{}")
    except ValueError:
        return []
    if not isinstance(found, dict):
        return []
    return [value.strip() for name, value in found.items()
            if isinstance(value, str) and 1 < len(value.strip()) <= 40 and not any(part in name.lower() for part in UNSAYABLE)
            and any(character.isalpha() for character in value)]
