"""Tables that belong to no user: what is alike, what is bought together, what is popular. For pages of a product, a basket, a stranger.

What is alike or bought together is kept in stock or not, and the views show what can be had: a product that goes out of stock
changes neither table.
"""

import time

import duckdb
import numpy as np
import pyarrow as pa
from scipy import sparse

from ecomrec import database
from ecomrec.duck import fill, open_duck, stream
from ecomrec.models import nearest
from ecomrec.models.loading import load
from ecomrec.models.topn import pick, top
from ecomrec.publication import hold, partition
from ecomrec.recommend import binary, write
from ecomrec.recommend import catalogue as catalogues
from ecomrec.recommend.histories import TEXT, positions
from ecomrec.registry import fetch
from ecomrec.settings import Settings

LENGTH = 30          # related items kept per item
TOGETHER_DAYS = 91   # days of baskets that "bought together" counts
SUPPORT = 3          # baskets that must hold both
LARGEST = 100        # items of a basket; a larger one (a reseller's) says little about what goes together
ROWS = 512           # items compared with all others at once
JUDGES, RECALL = 200, 0.95  # of a large catalogue: items that are compared with all, and the share of what that finds which an index must find
BOUGHT = {"user_id": "VARCHAR", "item": "INTEGER", "age": "UTINYINT", "segment": "VARCHAR"}
AVAILABLE = {"item": "INTEGER", "item_id": "VARCHAR", "category": "VARCHAR"}
POPULAR = ("publication_id", "segment", "days", "category", "item_ids", "buyers")


def build(settings: Settings, plan: dict, model_uri: str) -> dict:
    """Fills similar_items, bought_together and popular_items of a publication; a second time replaces the first. Returns rows of each, the recall of similar ones, and seconds."""
    started = time.monotonic()
    model = load(fetch(settings, model_uri), settings.threads)
    with (database.connect(settings.shop_dsn, application="ecomrec related") as connection, open_duck(settings, settings.profile_memory) as (duck, _)):
        hold(connection, plan["publication_id"])
        catalogue = catalogues.read(connection, model, plan["publication_id"])
        target = {name: partition(name, plan["publication_id"]) for name in ("similar_items", "bought_together", "popular_items")}
        for name in target.values():
            database.execute(connection, "publish/clear", partition=name)
        _read(duck, connection, plan, settings.segment_field)
        alike, cosines, recall = similar(catalogue, settings)
        rows = {"similar_items": write.copy_in(connection, target["similar_items"], _rows(plan, catalogue, alike, cosines, "scores")), "similar_recall": round(recall, 4),
                "bought_together": write.copy_in(connection, target["bought_together"], _rows(plan, catalogue, *together(duck, catalogue), "strengths")),
                "popular_items": stream(duck, database.text("recommend/popular"), [plan["publication_id"]], lambda given: database.copy_in(connection, target["popular_items"], POPULAR, given))}
    return {**rows, "seconds": round(time.monotonic() - started, 2)}


def _read(duck: duckdb.DuckDBPyConnection, connection, plan: dict, field: str) -> None:
    """Makes the tables bought (user, item, age, segment) and available. A user is a hash of 64 bits: they are only counted."""
    served = partition("served_items", plan["publication_id"])
    fill(duck, "bought", BOUGHT, connection, "recommend/bought", {"day": plan["day"], "days": TOGETHER_DAYS, "field": field},
         select='SELECT hash(user_id) AS "user", item, age, segment', served=served)
    fill(duck, "available", AVAILABLE, connection, "recommend/available", served=served)


def similar(catalogue: catalogues.Catalogue, settings: Settings) -> tuple[np.ndarray, np.ndarray, float]:
    """The items whose text is most alike, int32 [I, LENGTH], and the cosines; none for a model without item vectors. And what share of them was
    found: 1, or of more than `settings.exact_items`, where an index says which are worth comparing, as much as JUDGES of them say.
    """
    size, vectors = len(catalogue), catalogue.vectors
    items, scores = np.full((size, LENGTH), -1, dtype=np.int32), np.full((size, LENGTH), -np.inf, dtype=np.float32)
    if vectors is None:
        return items, scores, 1.0
    index, recall = None, 1.0
    if size > settings.exact_items:
        judges = np.random.default_rng(settings.seed).choice(size, min(JUDGES, size), replace=False)
        wanted = np.concatenate([_alike(vectors, some, None)[0] for some in np.array_split(judges, 1 + size // ROWS**2)])
        index, recall = nearest.enough(nearest.build(vectors, settings.seed), RECALL, lambda tried: nearest.found_of(wanted, _alike(vectors, judges, tried)[0]))
    for first in range(0, size, ROWS):
        rows = np.arange(first, min(first + ROWS, size))
        items[rows], scores[rows] = _alike(vectors, rows, index)
    return items, scores, recall


def _alike(vectors: np.ndarray, rows: np.ndarray, index: nearest.Index | None) -> tuple[np.ndarray, np.ndarray]:
    """The LENGTH most alike of each of the items `rows` and their cosines: among all, or among those that the index finds."""
    if index is None:
        cosine = vectors[rows] @ vectors.T
        cosine[np.arange(len(rows)), rows] = -np.inf
        return top(cosine, LENGTH)
    pool, taken = nearest.merged([index.search(vectors[rows], index.depth * LENGTH)], len(vectors))
    cosine = np.where(taken & (pool != rows[:, None]), np.einsum("rd,rwd->rw", vectors[rows], vectors[pool]), np.float32(-np.inf))
    found, scores = top(cosine, LENGTH)
    return pick(pool, found), scores


def together(duck: duckdb.DuckDBPyConnection, catalogue: catalogues.Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """The items most often in the same basket (a user's day), int32 [I, LENGTH], by baskets with both / sqrt(baskets with either one's product).

    One day at a time: memory holds the pairs that ever occur, not the baskets.
    """
    size = len(catalogue)
    both = sparse.csr_matrix((size, size), dtype=np.float32)
    for age in range(TOGETHER_DAYS):
        rows = duck.execute(database.text("recommend/baskets"), [age]).fetchnumpy()
        user, item = np.unique(rows["user"], return_inverse=True)[1], rows["item"]
        if not len(item):
            continue
        baskets = sparse.csr_matrix((np.ones(len(item), dtype=np.float32), (user, item)), shape=(int(user.max()) + 1, size))
        baskets.data[:] = 1
        baskets = baskets[np.diff(baskets.indptr) <= LARGEST]
        both = both + baskets.T @ baskets
    alone = both.diagonal()
    both = both.tocoo()
    keep = (both.row != both.col) & (both.data >= SUPPORT)
    row, column = both.row[keep], both.col[keep]
    strength = both.data[keep] / np.sqrt(alone[row] * alone[column])
    items, scores = np.full((size, LENGTH), -1, dtype=np.int32), np.full((size, LENGTH), -np.inf, dtype=np.float32)
    order = np.lexsort((column, -strength, row))
    row, column, strength = row[order], column[order], strength[order]
    counts = np.bincount(row, minlength=size)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    near = place < LENGTH
    items[row[near], place[near]], scores[row[near], place[near]] = column[near], strength[near]
    return items, scores


def load_together(connection, publication_id: int, catalogue: catalogues.Catalogue) -> sparse.csr_matrix:
    """bought_together of a publication as a sparse matrix [I, I] of strengths."""
    rows = database.table(connection, "recommend/together", {}, {"item_id": TEXT, "other": TEXT, "strength": pa.float32()},
                    partition=partition("bought_together", publication_id))
    item, other = positions(rows["item_id"], catalogue.ids), positions(rows["other"], catalogue.ids)
    return sparse.csr_matrix((rows["strength"].to_numpy(), (item, other)), shape=(len(catalogue), len(catalogue)))


def _rows(plan: dict, catalogue: catalogues.Catalogue, items: np.ndarray, numbers: np.ndarray, name: str) -> dict[str, binary.Column]:
    """Rows (publication_id, item_id, item_ids, <name>) of the items that have any."""
    rows = np.flatnonzero((items >= 0).any(axis=1))
    ids, values = write.items_and_numbers(catalogue, items[rows], numbers[rows])
    return {"publication_id": binary.constant(plan["publication_id"], len(rows)), "item_id": binary.texts(catalogue.texts, rows), "item_ids": ids, name: values}
