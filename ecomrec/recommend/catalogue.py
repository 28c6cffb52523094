"""The serving catalogue: every item that may be recommended, as arrays. The model's items first, then products too new for it.

A new product has no place in the model yet. Its score for a user is a mean of the user's scores of the known products that
are most like it (models/newcomers.py); who they are is found once, when the publication is prepared.
"""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from scipy import sparse

from ecomrec import database
from ecomrec.dataset import describe
from ecomrec.errors import AuditFailed, EcomrecError, SettingsError
from ecomrec.models import newcomers
from ecomrec.publication import partition
from ecomrec.recommend import selling
from ecomrec.recommend.binary import Texts
from ecomrec.settings import Settings

TYPES = {"item_id": pa.string(), "category": pa.string(), "brand": pa.string(), "price": pa.float64(), "available": pa.int8(), "fresh": pa.int8(),
         "tags": pa.string(), "campaign": pa.string(), "vector": pa.string(), "lenders": pa.string(), "parts": pa.string(), "sold": pa.float32()}


@dataclass(frozen=True)
class Catalogue:
    """Row i is the model's item i; rows from `known` on are new products, in the order of their ids."""

    ids: np.ndarray          # str [I]
    known: int               # items that the model has learned
    available: np.ndarray    # bool [I]
    categories: np.ndarray   # str [C], paths
    category: np.ndarray     # int32 [I], index into categories
    brands: np.ndarray       # str [B]
    brand: np.ndarray        # int32 [I], -1 without one
    price: np.ndarray        # float64 [I], NaN when the catalogue names none
    tags: dict[str, np.ndarray]       # tag -> bool [I]
    campaigns: dict[str, np.ndarray]  # campaign -> bool [I]
    fresh: np.ndarray        # bool [I], appeared within the last `new_item_days`
    sold: np.ndarray         # float32 [I], what sells now (`ecomrec.recommend.selling`); all 0: nothing, or it is not known
    vectors: np.ndarray | None        # float32 [I, d], length 1
    borrowed: sparse.csc_matrix       # float32 [known, I - known]: which known scores a new product's score is the mean of

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def texts(self) -> Texts:
        """The ids as Postgres is sent them; number -1 is the empty text."""
        return Texts.of([*self.ids.tolist(), ""])

    @cached_property
    def top_category(self) -> np.ndarray:
        """First level of each item's category, int32 [I]."""
        return np.unique([path.split("/")[0] for path in self.categories.tolist()], return_inverse=True)[1].astype(np.int32)[self.category]

    @cached_property
    def lenders(self) -> np.ndarray:
        """Items, ascending int32, that new products borrow from."""
        return np.unique(self.borrowed.indices).astype(np.int32)

    def below(self, path: str) -> np.ndarray:
        """bool [I]: the items of category `path` and of everything below it."""
        names = self.categories
        return ((names == path) | np.char.startswith(names, path + "/"))[self.category]

    def scores(self, known: np.ndarray) -> np.ndarray:
        """Scores of the whole catalogue, float32 [U, I], from those of the model's items [U, known]."""
        if len(self) == self.known:
            return known
        return np.concatenate((known, np.asarray(known @ self.borrowed, dtype=np.float32)), axis=1)


def snapshot(connection, settings: Settings, model, publication_id: int, day: str, manifest: dict, asked: list[str] | None = None, live: int | None = None) -> dict:
    """Writes the catalogue as it is now into recs.served_items of this publication, with what sold on the last days that the model counts; returns items and new ones.

    manifest: the model's, which says how many days these are (`popularity_days`) and which encoder made its vectors (`encoder`): the texts of new products are
    encoded with that one, whatever the settings name by now. `asked`: only these products as they are now, the others as the publication `live` saw them.
    Raises SettingsError where the encoder cannot be loaded, EcomrecError where its vectors are of another size.
    """
    target = partition("served_items", publication_id)
    before = partition("served_items", live) if live else target  # that nobody looks at unless some products are asked about
    database.execute(connection, "publish/clear", partition=target)
    sold = selling.count(connection, manifest.get("popularity_days", 0), day)
    database.execute(connection, "recommend/snapshot", {
        "sold_items": list(sold), "sold": list(sold.values()),
        "publication_id": publication_id, "day": day, "item_ids": model.item_ids.tolist(), "new_item_days": settings.new_item_days,
        "new_items": model.item_vectors is not None, "asked": asked}, partition=target, live=before)
    if asked is not None:
        database.execute(connection, "refresh/keep_unasked", {"asked": asked}, fresh=target, live=before)
    known = len(model.item_ids)
    new = database.query(connection, "recommend/described", {"first": known, "beyond": 2**31 - 1}, partition=target)
    if new:
        texts, learned = (_texts(rows) for rows in (new, database.query(connection, "recommend/described", {"first": 0, "beyond": known}, partition=target)))
        encoder = manifest.get("encoder", settings.encoder)  # manifests of earlier releases name none
        vectors = _encode(texts, settings, encoder)
        if vectors.shape[1] != model.item_vectors.shape[1]:
            raise EcomrecError(f"new products cannot be placed among the model's: its text vectors have {model.item_vectors.shape[1]} numbers, those of the encoder {encoder} have {vectors.shape[1]}",
                               "train anew (DAG train_models), or bring back the encoder that the model was trained with; where its manifest names none, ECOMREC_ENCODER does")
        for row, vector, lenders, parts in zip(new, vectors, *newcomers.lenders(model.item_vectors, vectors, learned, texts), strict=True):
            database.execute(connection, "recommend/set_new", {"number": row["number"], "vector": str(vector.tolist()), "lenders": lenders.tolist(), "parts": parts.tolist()}, partition=target)
    return {"items": known + len(new), "new": len(new)}


def read(connection, model, publication_id: int) -> Catalogue:
    """The catalogue that this publication's snapshot holds.

    Raises AuditFailed when the snapshot is of another model, or of a release whose snapshots named no lenders.
    """
    rows = database.table(connection, "recommend/served", {}, TYPES, partition=partition("served_items", publication_id))
    known, ids = len(model.item_ids), rows["item_id"].to_numpy(zero_copy_only=False).astype(str)
    if ids[:known].tolist() != model.item_ids.tolist():
        raise AuditFailed(f"publication {publication_id} was prepared for another model", "run its DAG again from the task prepare")
    vectors, borrowed = model.item_vectors, sparse.csc_matrix((known, len(ids) - known), dtype=np.float32)
    if len(ids) > known:
        new, lenders, parts = ([json.loads(text) for text in rows[name][known:].to_pylist() if text] for name in ("vector", "lenders", "parts"))
        if len(lenders) < len(ids) - known:
            raise AuditFailed(f"publication {publication_id} was prepared by an earlier release", "run its DAG again from the task prepare")
        borrowed = newcomers.borrowing(lenders, parts, known)
        vectors = np.concatenate((vectors, np.array(new, dtype=np.float32)))
    return Catalogue(ids=ids, known=known, available=rows["available"].to_numpy().astype(bool), fresh=rows["fresh"].to_numpy().astype(bool),
                     vectors=vectors, borrowed=borrowed, **_described(rows))


def whole(connection) -> Catalogue:
    """Every product of core.items, deleted ones too, as rules see it: for what is about the shop and not about a model."""
    rows = database.table(connection, "recommend/whole_catalogue", {}, TYPES)
    ids = rows["item_id"].to_numpy(zero_copy_only=False).astype(str)
    return Catalogue(ids=ids, known=len(ids), available=rows["available"].to_numpy().astype(bool), fresh=np.zeros(len(ids), dtype=bool), vectors=None,
                     borrowed=sparse.csc_matrix((len(ids), 0), dtype=np.float32), **_described(rows))


def _described(rows: pa.Table) -> dict:
    """The fields of a Catalogue that say what the products are."""
    categories, category = np.unique(rows["category"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    brands, brand = np.unique(rows["brand"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    return {"categories": categories, "category": category.astype(np.int32), "brands": brands, "sold": rows["sold"].to_numpy(), "brand": np.where(brands[brand] == "", -1, brand).astype(np.int32),
            "price": rows["price"].to_numpy(), "tags": _tags(rows["tags"]), "campaigns": _masks([[name] if name else [] for name in rows["campaign"].to_pylist()])}


def _texts(rows: list[dict]) -> list[str]:
    return [describe(row["title"], row["category"], row["brand"]) for row in rows]


def _encode(texts: list[str], settings: Settings, name: str) -> np.ndarray:
    """Unit vectors float32 [len(texts), d] by the encoder `name`, which is the model's and need no longer be that of the settings."""
    from ecomrec.recommender import recipe
    from ecomrec.text import encode

    try:
        return encode(texts, name, recipe()["text"]["max_length"])
    except SettingsError as error:
        if name == settings.encoder:
            raise
        raise SettingsError(f"new products are placed by the encoder that the model was trained with, {name}, and it cannot be loaded here; ECOMREC_ENCODER={settings.encoder} is for the next training",
                            f"install {name} again, or train anew with {settings.encoder} (DAG train_models)") from error


def _tags(column: pa.ChunkedArray) -> dict[str, np.ndarray]:
    found = column.combine_chunks().dictionary_encode()
    parsed = [json.loads(text) for text in found.dictionary.to_pylist()]
    return _masks([parsed[code] for code in found.indices.to_pylist()])


def _masks(names: list[list[str]]) -> dict[str, np.ndarray]:
    masks: dict[str, np.ndarray] = {}
    for row, each in enumerate(names):
        for name in each:
            masks.setdefault(name, np.zeros(len(names), dtype=bool))[row] = True
    return masks
