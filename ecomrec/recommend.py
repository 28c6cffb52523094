"""Scores one shard of users with the champion and writes their lists, with a reason for each item.

Histories come from Postgres by COPY, scores from the model's artefact, lists go back by COPY into the publication's
partition. A shard is one transaction: run again, it replaces itself.
"""

import csv
import io
import tempfile
import time
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ecomrec import database
from ecomrec.models import Histories
from ecomrec.models.serving import load
from ecomrec.privacy import tombstones
from ecomrec.publication import partition, window
from ecomrec.registry import fetch
from ecomrec.settings import Settings

COLUMNS = ("publication_id", "shard", "user_id", "item_ids", "scores", "reasons", "because", "model_version")
MARGIN = 2  # candidates per list place: what is sold out or deleted is taken from these without scoring again
EPOCH = date(1970, 1, 1)  # day 0 of the models' day numbers
LIKENESS = 0.45  # cosine below which "goes with" would not convince a person


def score_shard(settings: Settings, plan: dict, shard: dict, model_uri: str) -> dict:
    """Writes the lists of `shard` (an entry of `plan["shards"]`). Returns shard, users, seconds and users per second."""
    started = time.monotonic()
    model = load(fetch(settings, model_uri), settings.threads)
    target = partition("user_recommendations", plan["publication_id"])
    parameters = {**window(settings, plan["day"]), **shard}
    with database.connect(settings.shop_dsn, application=f"ecomrec score {shard['shard']}") as connection:
        tombstones.shield(connection)
        bought = _read(connection, parameters)
        available = {row["item_id"] for row in database.query(connection, "recommend/available_items")}
        offered = np.array([item in available for item in model.item_ids])
        users, histories = _histories(model.item_ids, bought)
        day = (parameters["day"] - EPOCH).days
        items, scores = model.recommend(histories, day, min(MARGIN * settings.list_length, len(model.item_ids)), settings.exclude_bought)
        database.execute(connection, "recommend/clear_shard", {"shard": shard["shard"]}, partition=target)
        lists = io.StringIO()
        writer = csv.writer(lists)
        for row, user in enumerate(users):
            keep = [place for place in range(items.shape[1]) if items[row, place] >= 0 and offered[items[row, place]]][: settings.list_length]
            chosen = items[row, keep]
            history = histories.items[histories.offsets[row]:histories.offsets[row + 1]]
            reasons, because = explain(model, chosen, history)
            writer.writerow((plan["publication_id"], shard["shard"], user, _array(model.item_ids[chosen]), _array(f"{s:.6g}" for s in scores[row, keep]),
                             _array(reasons), _array(because), plan["model_version"]))
        lists.seek(0)
        database.copy_in(connection, target, COLUMNS, lists)
        tombstones.purge(connection, target)
    seconds = time.monotonic() - started
    return {"shard": shard["shard"], "users": len(users), "seconds": round(seconds, 2), "users_per_s": round(len(users) / seconds, 1)}


def explain(model, chosen: np.ndarray, history: np.ndarray) -> tuple[list[str], list[str]]:
    """Reason and supporting item id of each chosen item index [k], given the user's history of item indices [n]."""
    owned = np.unique(history)
    reasons, because = ["popular"] * len(chosen), [""] * len(chosen)
    nearest, likeness = None, None
    if len(owned) and model.item_vectors is not None:
        cosine = model.item_vectors[chosen] @ model.item_vectors[owned].T
        nearest, likeness = owned[cosine.argmax(axis=1)], cosine.max(axis=1)
    for place, item in enumerate(chosen):
        if item in owned:
            reasons[place], because[place] = "bought_again", str(model.item_ids[item])
        elif nearest is not None and likeness[place] >= LIKENESS:
            reasons[place], because[place] = "goes_with", str(model.item_ids[nearest[place]])
    return reasons, because


def _read(connection, parameters: dict) -> pa.Table:
    with tempfile.TemporaryFile() as spool:  # on disk: a shard's history need not fit in memory twice
        database.copy_out(connection, "recommend/histories", spool, parameters)
        spool.seek(0)
        types = {"user_id": pa.string(), "item_id": pa.string(), "day": pa.int32(), "time": pa.int64()}
        return pyarrow.csv.read_csv(spool, convert_options=pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False))


def _histories(item_ids: np.ndarray, bought: pa.Table) -> tuple[list[str], Histories]:
    """Every user of the shard in order, and what they bought of the items that the model knows."""
    users, user = np.unique(bought["user_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    index = {item: number for number, item in enumerate(item_ids.tolist())}
    items = np.fromiter((index.get(item, -1) for item in bought["item_id"].to_pylist()), dtype=np.int32, count=len(bought))
    known = items >= 0
    # Postgres and numpy may order strings differently; a stable sort by user keeps each user's own order of time.
    order = np.argsort(user[known], kind="stable")
    counts = np.bincount(user[known], minlength=len(users))
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    columns = {name: bought[name].to_numpy()[known][order] for name in ("day", "time")}
    return users.tolist(), Histories(offsets=offsets, items=items[known][order], days=columns["day"].astype(np.int32), times=columns["time"],
                                     weights=np.ones(len(order), dtype=np.float32))


def _array(values) -> str:
    """A Postgres array literal."""
    return "{" + ",".join('"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values) + "}"
