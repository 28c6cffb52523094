"""The data set of the recommender: who bought what when, and how it is split. Read once from Postgres, kept as Parquet.

The product splits by time: train < valid_from <= valid < test_from <= test, and training days alone decide the universe.
The literature's sets are split by user instead (`by_user`): the last event is test, the one before it valid.
"""

import json
import tomllib
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ecomrec import database, features
from ecomrec.errors import InputError
from ecomrec.privacy import tombstones
from ecomrec.settings import Settings

EPOCH = date(1970, 1, 1)  # day 0 of every day number
RECIPE = Path(__file__).parent / "recipes" / "recommender.toml"
TRAIN, VALID, TEST = 0, 1, 2  # the parts of a split
SEGMENTS = "segments.parquet"
GROUPS, TWINS, SIDE = 30, 8, 3  # decoys: groups of users who buy the same, users of each, items that they show and items that they hide
EVENT_TYPES = {"user_id": pa.string(), "item_id": pa.string(), "day": pa.int32(), "time": pa.int64(), "event_type": pa.string()}


@dataclass(frozen=True)
class Dataset:
    """A built data set. Rows are sorted by user, then time; `item` < len(item_ids) is in the universe, larger ones are not.

    Users from meta["users"] on are decoys: made up, with purchases on test days alone that nothing before foretells. A model that
    knows them has learned from days that it is judged by (`heldout.decoys`); nothing else reads them.
    """

    user: np.ndarray     # int32 [N], index into user_ids
    item: np.ndarray     # int32 [N]
    day: np.ndarray      # int32 [N], days since 1970-01-01
    time: np.ndarray     # int64 [N], seconds since 1970-01-01
    weight: np.ndarray   # float32 [N], 1 for a purchase
    user_ids: np.ndarray
    item_ids: np.ndarray
    texts: list[str]     # what the text encoder reads, one per item of the universe
    prices: np.ndarray   # float64 [I], NaN where the catalogue names none
    groups: dict[str, np.ndarray]  # what items have in common, int64 [I], 0: nothing known: "shelf" (first level), "category", "brand", "price" (tenths)
    part: np.ndarray     # int8 [N], TRAIN, VALID or TEST
    valid_from: int      # day number
    test_from: int
    end: int             # last day
    meta: dict

    @property
    def by_user(self) -> bool:
        """Split by user (leave one out), not by time: the next event is predicted, not the next days."""
        return self.meta.get("split") == "user"

    @property
    def exclude_bought(self) -> bool:
        """What a user bought before is not recommended, and so not judged: as the literature does, split by user, else as the shop serves (ECOMREC_EXCLUDE_BOUGHT)."""
        return self.by_user or self.meta.get("exclude_bought", False)


def recipe(path: Path = RECIPE) -> dict:
    """The recipe's sections."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def build(settings: Settings, day: str, folder: Path) -> dict:
    """Reads the last `history_days` days up to and including `day` (YYYY-MM-DD) and writes the data set into `folder`.

    Returns the contents of its meta.json. Raises InputError when there is nothing to train on.
    """
    weights = recipe()["dataset"]["weights"]
    last = date.fromisoformat(day)
    parameters = {"first_day": last - timedelta(days=settings.history_days - 1), "day": last, "event_types": sorted(weights)}
    with database.connect(settings.shop_dsn, application="ecomrec dataset") as connection:
        tombstones.shield(connection)  # an erasure waits for the files, and then takes the person out of them
        events = database.table(connection, "dataset/events", parameters, EVENT_TYPES)
        items = database.table(connection, "dataset/items", parameters, {**dict.fromkeys(("item_id", "title", "category", "brand"), pa.string()), "price": pa.float64()})
        features.check("dataset/events", events.column_names)
        features.check("dataset/items", items.column_names)
        meta = write(settings, day, events, items, folder)
        if settings.segment_field:
            everyone = {"field": settings.segment_field, "first_day": parameters["first_day"], "day": last, "first_user": "", "next_user": None}
            pq.write_table(database.table(connection, "recommend/segments", everyone, {"user_id": pa.string(), "segment": pa.string()}), folder / SEGMENTS)
        return meta


def segments(folder: Path) -> dict[str, str]:
    """The segment of each user who has one (setting `segment_field`)."""
    if not (folder / SEGMENTS).is_file():
        return {}
    table = pq.read_table(folder / SEGMENTS)
    return dict(zip(table["user_id"].to_pylist(), table["segment"].to_pylist(), strict=True))


def write(settings: Settings, day: str, events: pa.Table, items: pa.Table, folder: Path, by_user: bool = False) -> dict:
    """Writes the data set of `events` (columns of sql/dataset/events.sql, in its order) and `items` (sql/dataset/items.sql).

    by_user: split as the literature does, each user's last event is test and, for `max_valid_users` of them, the one before
    it valid; the universe is every item of the catalogue that has an event.
    """
    rules = recipe()["dataset"]
    if min(rules["weights"].values(), default=0) <= 0 or rules["weights"].get("purchase", 0) < 1:
        raise InputError(f"[dataset.weights] in recommender.toml is {rules['weights']}: a purchase counts 1 or more, and what counts nothing has no place there", "write weights above 0, and purchase = 1.0")
    end = _number(day)
    test_from = end - settings.test_days + 1
    valid_from = test_from - settings.valid_days
    days = events["day"].to_numpy()
    if by_user:
        rules, valid_from, test_from = {**rules, "min_item_events": 0, "max_items": len(items)}, end + 1, end + 1
    if not (days < valid_from).any():
        raise InputError(f"no events before {_iso(valid_from)}: nothing to train on for {day}",
                         "load more days (DAG load_history), or lower ECOMREC_VALID_DAYS and ECOMREC_TEST_DAYS")
    (user_ids, user), (names, code) = _numbered(events["user_id"]), _numbered(events["item_id"])
    weight = np.array([rules["weights"][kind] for kind in events["event_type"].to_pylist()], dtype=np.float32)
    universe = _universe(names, np.bincount(code[days < valid_from], minlength=len(names)), items, rules)
    others = np.setdiff1d(np.arange(len(names)), universe)
    number = np.empty(len(names), dtype=np.int32)
    number[np.concatenate((universe, others))] = np.arange(len(names))
    order = np.lexsort((events["time"].to_numpy(), user))  # stable: rows of one moment stay in SQL's order
    table = pa.table({"user": user[order].astype(np.int32), "item": number[code][order], "day": days[order].astype(np.int32),
                      "time": events["time"].to_numpy()[order], "weight": weight[order]})
    planted = pa.table(_decoys(np.bincount(code[days < valid_from], minlength=len(names))[universe], settings.seed, test_from, end, len(user_ids), by_user), table.schema)
    names_of_decoys = [f"decoy {n}" for n in range(len(planted) // (2 * SIDE))]
    tested = (days >= test_from) & (weight >= 1)
    split = {"split": "user", "valid_users": rules["max_valid_users"], "seed": settings.seed} if by_user else {"split": "time", "exclude_bought": settings.exclude_bought}
    meta = {**split, "day": day, "first_day": _iso(int(days.min())), "valid_from": _iso(valid_from), "test_from": _iso(test_from),
            "users": len(user_ids), "items": len(universe), "other_items": len(others), "events": len(events),
            "test_purchases_covered": round(float((number[code][tested] < len(universe)).mean()), 4) if tested.any() else 0.0}
    catalogue = items.take(pa.array(_rows(items, names[universe])))
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables((table, planted)), folder / "interactions.parquet", compression="zstd")
    pq.write_table(pa.table({"user_id": user_ids.tolist() + names_of_decoys}), folder / "users.parquet")
    pq.write_table(catalogue.select([name for name in ("item_id", "title", "category", "brand", "price") if name in catalogue.column_names]), folder / "items.parquet")
    (folder / "meta.json").write_text(json.dumps(meta, indent=1, sort_keys=True), encoding="utf-8")
    return meta


def _numbered(ids: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct ids, ascending, and the place of each row's among them. One id may be as long as the contract allows; it widens only the distinct ones."""
    distinct, code = database.codes(ids.dictionary_encode())
    names, place = np.unique(distinct, return_inverse=True)
    return names, place[code]


def _decoys(counts: np.ndarray, seed: int, first: int, last: int, users: int, by_user: bool) -> dict[str, np.ndarray]:
    """Rows of the decoys, numbered from `users` on: TWINS of each group buy the same SIDE items on the first test day and the same SIDE
    others on the last, all drawn from the items that sold least before (`counts` [I]), so that real purchases say little of them.

    None in a split by user, which has no test days, and in a shop of too few items to tell knowledge from luck.
    """
    groups = 0 if by_user or len(counts) < 8 * SIDE else GROUPS
    rare = np.argsort(counts, kind="stable")[:len(counts) // 2]
    random = np.random.default_rng(seed)
    items = np.concatenate([np.tile(random.choice(rare, 2 * SIDE, replace=False), TWINS) for _ in range(groups)]) if groups else np.zeros(0, dtype=np.int64)
    place = np.tile(np.arange(2 * SIDE), groups * TWINS)
    days = np.where(place < SIDE, first, last)
    return {"user": users + np.arange(len(items)) // (2 * SIDE), "item": items, "day": days, "time": days * 86400 + place, "weight": np.ones(len(items), dtype=np.float32)}


def load(folder: Path) -> Dataset:
    """The data set in `folder`."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    rows, items = pq.read_table(folder / "interactions.parquet"), pq.read_table(folder / "items.parquet")
    columns = {name: rows[name].to_numpy() for name in ("user", "item", "day", "time", "weight")}
    texts = [describe(*row) for row in zip(*(items[name].to_pylist() for name in ("title", "category", "brand")), strict=True)]
    prices = items["price"].to_numpy() if "price" in items.column_names else np.full(len(items), np.nan)
    category = items["category"].to_pylist()
    groups = {"shelf": _codes([name.split("/")[0] for name in category]), "category": _codes(category), "brand": _codes(items["brand"].to_pylist()),
              "price": _tenths(prices)}
    valid_from, test_from = _number(meta["valid_from"]), _number(meta["test_from"])
    if meta.get("split") == "user":
        part = _last_first(columns["user"], meta["valid_users"], meta["seed"])
    else:
        part = ((columns["day"] >= valid_from).astype(np.int8) + (columns["day"] >= test_from)).astype(np.int8)
    return Dataset(**columns, part=part, user_ids=np.array(pq.read_table(folder / "users.parquet")["user_id"].to_pylist(), dtype=str),
                   item_ids=np.array(items["item_id"].to_pylist(), dtype=str), texts=texts,
                   prices=prices, groups=groups, valid_from=valid_from, test_from=test_from, end=_number(meta["day"]), meta=meta)


def _codes(names: list[str]) -> np.ndarray:
    """A number from 1 for each name, 0 for none."""
    number = {name: place for place, name in enumerate(sorted({name for name in names if name}), 1)}
    return np.array([number.get(name, 0) for name in names], dtype=np.int64)


def _tenths(prices: np.ndarray) -> np.ndarray:
    """The tenth, 1 to 10, that each price lies in; 0 without a price."""
    known = ~np.isnan(prices)
    found = np.zeros(len(prices), dtype=np.int64)
    if known.any():
        found[known] = 1 + np.searchsorted(np.quantile(prices[known], np.arange(1, 10) / 10), prices[known])
    return found


def _last_first(user: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Parts of rows sorted by user and time: the last is TEST; of `most` users, drawn by `seed`, the one before it VALID.

    Only users with three events are drawn, so that something is left to learn from. The others' last but one stays in
    training: with five events a user it is a quarter of what there is.
    """
    _, starts, counts = np.unique(user, return_index=True, return_counts=True)
    last = starts + counts - 1
    part = np.zeros(len(user), dtype=np.int8)
    part[last[counts > 1]] = TEST
    candidates = last[counts > 2] - 1
    part[np.random.default_rng(seed).permutation(candidates)[:most]] = VALID
    return part


def _universe(names: np.ndarray, counts: np.ndarray, items: pa.Table, rules: dict) -> np.ndarray:
    """Indices into `names` of the items that a model may recommend, in item-id order."""
    enough = (counts >= rules["min_item_events"]) & np.isin(names, items["item_id"].to_numpy(zero_copy_only=False).astype(str))
    if not enough.any():
        raise InputError(f"no product of the catalogue has {rules['min_item_events']} events on training days",
                         "load the catalogue (DAG ingest_catalog) and more days of events")
    ranked = np.argsort(-counts, kind="stable")  # ties: smaller item id first
    return np.sort(ranked[enough[ranked]][: rules["max_items"]])


def _rows(items: pa.Table, wanted: np.ndarray) -> np.ndarray:
    """Row of each wanted item id in the catalogue."""
    known = items["item_id"].to_numpy(zero_copy_only=False).astype(str)
    order = np.argsort(known)
    return order[np.searchsorted(known, wanted, sorter=order)]


def describe(title: str, category: str, brand: str) -> str:
    """A product's text for the encoder, which learned and new ones share: title, then the category's words that the title lacks, then the brand: short, because encoding costs by the token."""
    said = set(title.lower().split())
    extra = " ".join(word for word in category.replace("/", " ").split() if word.lower() not in said)
    return ". ".join(part for part in (title, extra, brand) if part).lower()


def _number(day: str) -> int:
    return (date.fromisoformat(day) - EPOCH).days


def _iso(number: int) -> str:
    return (EPOCH + timedelta(days=number)).isoformat()
