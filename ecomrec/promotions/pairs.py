"""What is known of a user and a promotion on the eve of a day, as numbers: one row a pair, made by DuckDB from what was bought, shown and redeemed."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from ecomrec import database
from ecomrec.promotions.offers import Promotion

HORIZON = 28  # days from its beginning in which a promotion shows what it does
HISTORY = 91  # days before it that the numbers look back
FEATURES = ("idle", "orders", "spend", "contacts", "redeemed", "covered", "covered_times", "covered_idle", "covered_share", "products", "length")


@dataclass(frozen=True)
class Pairs:
    """Rows by promotion and user. Outcomes are of the HORIZON days from the pair's day on, and 0 where they lie in the future."""

    users: np.ndarray       # str [P]
    promotions: np.ndarray  # int [P], place in the promotions that were asked for
    features: np.ndarray    # float32 [P, F]; money and days as log1p
    contacted: np.ndarray   # bool [P]
    redeemed: np.ndarray    # bool [P]
    spent: np.ndarray       # float64 [P], on products that the promotion covers
    times: np.ndarray       # int [P], purchases of such products in the HISTORY days before

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: np.ndarray) -> "Pairs":
        return Pairs(*(getattr(self, field)[rows] for field in self.__dataclass_fields__))


def cover(duck, promotions: list[Promotion], catalogue) -> None:
    """Makes the table `covered` (number, item_id): which products each promotion covers; `catalogue` as `Match.mask` asks for it."""
    duck.execute("CREATE OR REPLACE TABLE covered (number INTEGER, item_id VARCHAR)")
    for number, promotion in enumerate(promotions):
        found = pa.table({"item_id": pa.array(catalogue.ids[promotion.mask(catalogue)].tolist(), pa.string())})
        duck.register("found", found)
        duck.execute("INSERT INTO covered SELECT ?, item_id FROM found", [number])
        duck.unregister("found")


def of(duck, promotions: list[Promotion], days: list[date], chosen: list[int]) -> Pairs:
    """The pairs of every user who bought something in the HISTORY days before days[i], and promotion chosen[i] (its place in `promotions`)."""
    duck.execute("CREATE OR REPLACE TABLE asked (number INTEGER, campaign VARCHAR, as_of DATE, until DATE, first DATE, length INTEGER)")
    for place, day in zip(chosen, days, strict=True):
        one = promotions[place]
        duck.execute("INSERT INTO asked VALUES (?, ?, ?, ?, ?, ?)", [place, one.id, day, min(one.last, day + timedelta(days=HORIZON - 1)), one.first, (one.last - one.first).days + 1])
    rows = duck.sql(database.text("promotions/pairs"), params={"history": HISTORY}).to_arrow_table()
    column = {name: rows[name].to_numpy() for name in rows.column_names if name != "user_id"}
    features = np.column_stack([np.log1p(np.maximum(column[name].astype(np.float64), 0)) for name in FEATURES]).astype(np.float32) if len(rows) else np.zeros((0, len(FEATURES)), np.float32)
    return Pairs(rows["user_id"].to_numpy(zero_copy_only=False).astype(str), column["number"], features, column["contacted"].astype(bool), column["was_redeemed"].astype(bool),
                 column["spent"].astype(np.float64), column["covered_times"].astype(np.int64))
