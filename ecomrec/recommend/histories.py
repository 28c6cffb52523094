"""What a shard's users bought and else did, from Postgres by COPY through Arrow: no Python object per event or user."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from ecomrec import database
from ecomrec.dataset import recipe
from ecomrec.models import Histories

EPOCH = date(1970, 1, 1)  # day 0 of the models' day numbers
TEXT = pa.dictionary(pa.int32(), pa.string())  # each distinct id is decoded once


@dataclass(frozen=True)
class Owned:
    """What each user bought at all, each item once, ascending: user u has rows offsets[u]:offsets[u+1]."""

    offsets: np.ndarray  # int64 [U+1]
    items: np.ndarray    # int32 [n]
    times: np.ndarray    # int32 [n], how often

    def slice(self, first: int, last: int) -> "Owned":
        """The users first … last-1."""
        rows = slice(int(self.offsets[first]), int(self.offsets[last]))
        return Owned(self.offsets[first:last + 1] - self.offsets[first], self.items[rows], self.times[rows])

    def owners(self) -> np.ndarray:
        """The user's place of each row, int64 [n]."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


@dataclass(frozen=True)
class Shard:
    """Users of a shard in the order of their ids, and what each of them did with the serving items."""

    users: np.ndarray      # str [U]
    histories: Histories   # purchases; items index the serving catalogue, which begins with the model's items
    owned: Owned
    read: Histories        # what the model reads: purchases, and what else the recipe gives a weight

    def __len__(self) -> int:
        return len(self.users)

    def slice(self, first: int, last: int) -> "Shard":
        """The users first … last-1."""
        return Shard(self.users[first:last], self.histories.users(first, last), self.owned.slice(first, last), self.read.users(first, last))

    def take(self, chosen: np.ndarray) -> "Shard":
        """The users at the places `chosen`."""
        return shard(self.users[chosen], self.histories.take(chosen), self.read.take(chosen))

    def known(self, items: int) -> Histories:
        """What the model reads, without items >= `items`, which it has never seen."""
        return _only(self.read, self.read.items < items)


def _only(given: Histories, keep: np.ndarray) -> Histories:
    """The rows of `keep`, bool [N]."""
    if keep.all():
        return given
    sizes = np.bincount(given.owners()[keep], minlength=len(given))
    return Histories(np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), given.items[keep], given.days[keep], given.times[keep], given.weights[keep])


def shard(users: np.ndarray, histories: Histories, read: Histories | None = None) -> Shard:
    """The shard of these users with these purchases; `read`: what the model reads, where that is more."""
    owner = np.repeat(np.arange(len(users)), np.diff(histories.offsets))
    width = np.int64(histories.items.max(initial=0)) + 1
    keys = np.sort(owner * width + histories.items)
    first = np.flatnonzero(np.concatenate(([True], np.diff(keys) != 0))) if len(keys) else np.zeros(0, dtype=np.int64)
    times, keys = np.diff(np.append(first, len(keys))), keys[first]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(keys // width, minlength=len(users))))).astype(np.int64)
    return Shard(users, histories, Owned(offsets, (keys % width).astype(np.int32), times.astype(np.int32)), histories if read is None else read)


def read(connection, parameters: dict, item_ids: np.ndarray, name: str = "recommend/histories", users: np.ndarray | None = None) -> Shard:
    """The rows of sql/<name>.sql with these parameters, by user and time; items that are not in `item_ids` are left out.

    `users` (ascending): whose histories to return, also when they have no row; by default everyone who bought something.
    """
    weights = recipe()["dataset"]["weights"]
    kinds = sorted(weights)
    table = database.table(connection, name, {"event_types": kinds, **parameters}, {"user_id": TEXT, "item_id": TEXT, "day": pa.int32(), "time": pa.int64(), "kind": pa.int16()})
    (names, user), kind = database.codes(table["user_id"]), table["kind"].to_numpy() - 1
    bought = kind == kinds.index("purchase")
    users = np.sort(names if bought.all() else names[np.unique(user[bought])]) if users is None else users
    place = np.searchsorted(users, names)
    place[(place == len(users)) | (users[np.minimum(place, len(users) - 1)] != names) if len(users) else slice(None)] = -1
    user, item = place[user], positions(table["item_id"], item_ids)
    day, time = table["day"].to_numpy(), table["time"].to_numpy()
    rows = np.lexsort((item, time, user))
    rows = rows[(item[rows] >= 0) & (user[rows] >= 0)]
    user, item = user[rows], item[rows]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(user, minlength=len(users))))).astype(np.int64)
    given = Histories(offsets, item, day[rows], time[rows], np.array([weights[name] for name in kinds], dtype=np.float32)[kind[rows]])
    return shard(users, _only(given, bought[rows]), given)


def positions(column: pa.ChunkedArray, item_ids: np.ndarray) -> np.ndarray:
    """The place of each row's item in `item_ids`, int32, -1 where it is none of them."""
    names, code = database.codes(column)
    index = {item: number for number, item in enumerate(item_ids.tolist())}
    return np.array([index.get(name, -1) for name in names.tolist()], dtype=np.int32)[code] if len(code) else np.zeros(0, dtype=np.int32)
