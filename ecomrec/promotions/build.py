"""Fills recs.user_promotions of a publication."""

import time
from datetime import date, timedelta

import numpy as np

from ecomrec import database
from ecomrec.duck import fill, open_duck
from ecomrec.errors import SettingsError
from ecomrec.privacy import tombstones
from ecomrec.promotions import offers, pairs, uplift
from ecomrec.promotions.choose import choose
from ecomrec.publication import hold, partition, window
from ecomrec.recommend import binary, catalogue, write
from ecomrec.settings import Settings

BOUGHT = {"user_id": "VARCHAR", "event_day": "DATE", "item_id": "VARCHAR", "price": "DOUBLE", "quantity": "DOUBLE", "campaign": "VARCHAR"}
CONTACTS = {"user_id": "VARCHAR", "event_day": "DATE", "campaign": "VARCHAR"}
REASONS = ("buys_these", "used_before", "expected_gain")
BUYS_THESE, USED_BEFORE, EXPECTED_GAIN = range(len(REASONS))
REDEEMED = pairs.FEATURES.index("redeemed")


def build(settings: Settings, publication_id: int, day: str) -> dict:
    """Who is shown which of the promotions that run on the morrow of `day`; a second time replaces the first.

    Returns users, promotions running, contacts planned, `basis` (see `uplift.Uplift`; None where nothing runs) and seconds. Raises SettingsError where the
    promotions cannot be read, or a running one covers no product.
    """
    started, asked, morrow = time.monotonic(), offers.load(settings), date.fromisoformat(day) + timedelta(days=1)
    name, running = partition("user_promotions", publication_id), asked.running(morrow)
    with database.connect(settings.shop_dsn, application="ecomrec promotions") as connection:
        hold(connection, publication_id)
        tombstones.shield(connection)
        database.execute(connection, "publish/clear", partition=name)
        if not running:
            return {"users": 0, "promotions": 0, "contacts": 0, "basis": None, "seconds": round(time.monotonic() - started, 2)}
        with open_duck(settings, settings.profile_memory) as (duck, _):
            days = window(settings, day)
            fill(duck, "raw", BOUGHT, connection, "promotions/bought", days)
            fill(duck, "contacts", CONTACTS, connection, "promotions/contacts", days)
            duck.execute("CREATE TABLE bought AS SELECT user_id, event_day, item_id, coalesce(price, 0) * coalesce(quantity, 1) AS paid, campaign FROM raw")
            pairs.cover(duck, asked.promotions, catalogue.whole(connection))
            _all_cover_something(duck, asked.promotions, running)
            learned = uplift.fit(history(duck, asked.promotions, days["first_day"], date.fromisoformat(day)), settings.seed)
            chosen = [asked.promotions.index(promotion) for promotion in running]
            found = pairs.of(duck, asked.promotions, [morrow] * len(chosen), chosen)
            rows = plan(duck, asked, found, learned, morrow)
        users = write.copy_in(connection, name, table(publication_id, asked, rows)) if len(rows["users"]) else 0
        users -= tombstones.purge(connection, name)
    return {"users": users, "promotions": len(running), "contacts": int(rows["counts"].sum()), "basis": learned.basis, "learned_from": {"contacts": learned.contacts, "redemptions": learned.redemptions},
            "seconds": round(time.monotonic() - started, 2)}


def history(duck, promotions: list[offers.Promotion], first_day: date, day: date) -> pairs.Pairs:
    """The pairs of the promotions whose outcome is known on `day` and before which enough is known, as of their first day."""
    ended = [number for number, promotion in enumerate(promotions)
             if min(promotion.last, promotion.first + timedelta(days=pairs.HORIZON - 1)) <= day and promotion.first >= first_day + timedelta(days=28)]
    return pairs.of(duck, promotions, [promotions[number].first for number in ended], ended)


def plan(duck, asked: offers.Offers, found: pairs.Pairs, learned: uplift.Uplift, day: date) -> dict[str, np.ndarray]:
    """The pairs that are taken, by user and falling value: users str [U], counts int64 [U], and per pair promotion, value, uplift, redeem, reason.

    A user who had their contacts, or was contacted for the promotion already, is left alone; contacts of before count against the budget.
    """
    redeem, gain = learned.predict(found)
    margin, discount, cost = (np.array([getattr(promotion, key) for promotion in asked.promotions])[found.promotions] for key in ("margin", "discount", "cost"))
    value = margin * gain - discount * redeem - cost if learned.basis == "uplift" else gain
    value = np.where(found.contacted, -np.inf, value)
    users, place = np.unique(found.users, return_inverse=True)
    past = dict(duck.execute(database.text("promotions/recent"), {"day": day, "window": asked.window}).fetchall())
    room = np.array([min(asked.per_user, asked.contacts - past.get(user, 0)) for user in users.tolist()], dtype=np.int64)
    spent = dict(duck.execute(database.text("promotions/made"), {"day": day}).fetchall())
    budget = np.array([len(users) if promotion.budget is None else promotion.budget - spent.get(promotion.id, 0) for promotion in asked.promotions], dtype=np.int64)
    rows = np.flatnonzero(choose(place, found.promotions.astype(np.int64), value, room, budget))
    rows = rows[np.lexsort((found.promotions[rows], -value[rows], place[rows]))]
    mine, counts = np.unique(place[rows], return_counts=True)
    reason = np.where(found.times[rows] > 0, BUYS_THESE, np.where(found.features[rows, REDEEMED] > 0, USED_BEFORE, EXPECTED_GAIN))
    return {"users": users[mine], "counts": counts, "promotion": found.promotions[rows], "value": value[rows].astype(np.float32), "uplift": gain[rows].astype(np.float32),
            "redeem": redeem[rows].astype(np.float32), "reason": reason, "times": found.times[rows].astype(np.int32), "basis": np.array(learned.basis)}


def table(publication_id: int, asked: offers.Offers, rows: dict[str, np.ndarray]) -> dict[str, binary.Column]:
    """Rows of recs.user_promotions."""
    offsets, count = np.concatenate(([0], np.cumsum(rows["counts"]))).astype(np.int64), len(rows["users"])
    ids, titles = (binary.Texts.of([getattr(promotion, key) for promotion in asked.promotions]) for key in ("id", "title"))
    return {"publication_id": binary.constant(publication_id, count), "user_id": binary.each_text(rows["users"].tolist()),
            "promotion_ids": binary.text_lists(ids, rows["promotion"], offsets), "titles": binary.text_lists(titles, rows["promotion"], offsets),
            "expected_values": binary.number_lists(rows["value"], offsets), "uplifts": binary.number_lists(rows["uplift"], offsets),
            "redemptions": binary.number_lists(rows["redeem"], offsets), "reasons": binary.text_lists(binary.Texts.of(list(REASONS)), rows["reason"], offsets),
            "times": binary.number_lists(rows["times"], offsets), "basis": binary.constant(str(rows["basis"]), count)}


def _all_cover_something(duck, promotions: list[offers.Promotion], running: list[offers.Promotion]) -> None:
    some = {number for (number,) in duck.execute("SELECT DISTINCT number FROM covered").fetchall()}
    for number, promotion in enumerate(promotions):
        if promotion in running and number not in some:
            raise SettingsError(f"promotion {promotion.id!r} covers no product of the catalogue: {', '.join(f'{key} {name!r}' for key, name in promotion.names()) or 'prices'}",
                                "mend what it covers in the file that ECOMREC_PROMOTIONS names, or load the catalogue that has it")
