"""One shard of users, from their histories to their lists, in one transaction. Run again, it replaces itself."""

import time
from dataclasses import dataclass
from datetime import date

import numpy as np
from threadpoolctl import threadpool_limits

from ecomrec import artifact, database
from ecomrec.models.loading import load
from ecomrec.privacy import tombstones
from ecomrec.promotions import offers
from ecomrec.publication import hold, partition, window
from ecomrec.recommend import candidates, explain, kept, lists, policy, pool, related, rules, selling, write
from ecomrec.recommend import catalogue as catalogues
from ecomrec.recommend.histories import Shard, read
from ecomrec.recommend.scores import Scores, score
from ecomrec.registry import fetch
from ecomrec.settings import Settings

TABLES = ("user_recommendations", "user_candidates")  # what a shard writes
BLOCK = 2_000_000  # scores held at once, 8 MB of float32: they stay in the cache, and memory does not grow with users or products
USERS = 2000       # users whose lists are made together: enough for numpy, little memory
POPULAR = 200      # best-sellers that a short list is filled from


@dataclass(frozen=True)
class Shop:
    """What all users of a publication share."""

    model: object
    catalogue: catalogues.Catalogue
    policy: policy.Policy
    shelf: np.ndarray     # int8 [I], see lists.shelves
    popular: np.ndarray   # int64 [Q], available items, best-selling first
    together: object      # sparse [I, I], None when no context asks
    seed: int


def prepare(settings: Settings, plan: dict, model_uri: str) -> dict:
    """Checks the rules against the catalogue and takes the publication's snapshot of it. Returns items and new ones, and `keep_from`, the
    publication that users about whom nothing is new keep their lists of (None: nobody does), for the plan.

    A mistake in the shop's promotions is told here too, before anything is scored.
    """
    shop_rules = rules.load(settings)
    offers.load(settings)
    folder = fetch(settings, model_uri)
    model = load(folder, settings.threads)
    with database.connect(settings.shop_dsn, application="ecomrec prepare") as connection:
        rules.check(connection, shop_rules)
        digest = rules.digest(settings)
        database.execute(connection, "refresh/set_rules", {"publication_id": plan["publication_id"], "digest": digest})
        return {**catalogues.snapshot(connection, settings, model, plan["publication_id"], plan["day"], artifact.facts(folder)), "keep_from": kept.source(connection, settings, plan, shop_rules, digest)}


def score_shard(settings: Settings, plan: dict, shard: dict, model_uri: str) -> dict:
    """Writes the lists of `shard` (an entry of `plan["shards"]`). Returns shard, users, how many of them kept their lists, seconds and users per second."""
    started, touched = time.monotonic(), {}
    with one_thread(settings), database.connect(settings.shop_dsn, application=f"ecomrec score {shard['shard']}") as connection:
        hold(connection, plan["publication_id"])
        tombstones.shield(connection)
        shop = open_shop(connection, settings, plan, load(fetch(settings, model_uri), settings.threads))
        parameters = {**window(settings, plan["day"]), **shard, "field": settings.segment_field}
        for table in TABLES:
            database.execute(connection, "recommend/clear_shard", {"shard": shard["shard"]}, partition=partition(table, plan["publication_id"]))
        kept_users = kept.keep(connection, settings, plan, shard, shop.policy.rules)
        users = kept_users + write_users(connection, plan, shard["shard"], shop, parameters, touched)
        for table in TABLES:
            tombstones.purge(connection, partition(table, plan["publication_id"]))
        keys = {"publication_id": plan["publication_id"], "shard": shard["shard"]}
        database.execute(connection, "recommend/clear_counts", keys)
        database.execute(connection, "recommend/count", {**keys, "rules": list(touched), "lists": list(touched.values())})
    seconds = time.monotonic() - started
    return {"shard": shard["shard"], "users": users, "kept": kept_users, "seconds": round(seconds, 2), "users_per_s": round(users / max(seconds, 1e-9), 1)}


def one_thread(settings: Settings) -> threadpool_limits:
    """Shards run beside one another: a matrix product, or a search, that waits for a second core which another shard holds takes several times as long."""
    return threadpool_limits(settings.threads or 1)


def write_users(connection, plan: dict, number: int, shop: Shop, parameters: dict, touched: dict[str, int] | None = None, **which) -> int:
    """Candidates and lists of the users that `histories.read(…, **which)` finds, in shard `number`; adds to `touched`; returns the users."""
    people = read(connection, parameters, shop.catalogue.ids, **which)
    known = what_rules_ask(connection, parameters, shop, people)
    for first in range(0, len(people), USERS):
        last = min(first + USERS, len(people))
        block, facts = people.slice(first, last), known.slice(first, last)
        found, taken, vectors = choose(shop, block, facts)
        scored = np.full(len(block), np.datetime64(plan["day"]))
        write.copy_in(connection, partition("user_candidates", plan["publication_id"]),
                      write.candidates_rows(plan, number, block.users, scored, facts.segments, found, vectors))
        moved = write_lists(connection, plan, number, shop, block, facts, found)
        if touched is not None:
            count(touched, shop, found, taken, moved)
    return len(people)


def open_shop(connection, settings: Settings, plan: dict, model) -> Shop:
    """What all users share, from the publication's own snapshot of the catalogue."""
    shop_rules, catalogue = rules.load(settings), catalogues.read(connection, model, plan["publication_id"])
    model = selling.now(model, catalogue.sold[:catalogue.known])
    compiled = policy.compile(shop_rules, catalogue, date.fromisoformat(plan["day"]), settings.list_length, settings.exclude_bought)
    sold = catalogue.scores(np.asarray(model.popularity, dtype=np.float32)[None, :])[0]
    popular = np.argsort(-np.where(compiled.allowed, sold, -np.inf), kind="stable")[:min(POPULAR, int(compiled.allowed.sum()))]
    asked = any(context.source == "last_basket" for context in shop_rules.contexts.values())
    together = related.load_together(connection, plan["publication_id"], catalogue) if asked else None
    return Shop(model, catalogue, compiled, lists.shelves(np.maximum(sold, 0)), popular, together, settings.seed)


def what_rules_ask(connection, parameters: dict, shop: Shop, people: Shard) -> candidates.Known:
    """Segments of the users, and what they saw, where a rule asks for it."""
    segments = np.full(len(people), "", dtype=object)
    place = {user: row for row, user in enumerate(people.users.tolist())} if parameters["field"] else {}
    if place:
        for row in database.query(connection, "recommend/segments", parameters):
            if row["user_id"] in place:
                segments[place[row["user_id"]]] = row["segment"] or ""
    seen = None
    if shop.policy.after_seen.any():
        seen = read(connection, parameters, shop.catalogue.ids, name="recommend/seen", users=people.users).histories
    return candidates.Known(segments.astype(str), seen, shop.together)


def choose(shop: Shop, block: Shard, known: candidates.Known) -> tuple[candidates.Candidates, dict[str, np.ndarray], np.ndarray | None]:
    """`candidates.choose` for a block of any size, holding about BLOCK scores at a time; and the model's vectors of the users, float32 [U, d].

    A model with an index is asked for a pool of products for each user, any other for the scores of all.
    """
    model, catalogue = shop.model, shop.catalogue
    searched = getattr(model, "index", None) is not None
    step = max(1, BLOCK // max(pool.width(model, shop.policy, catalogue) if searched else len(catalogue), 1))
    given, parts = block.known(catalogue.known), []
    vectors = model.vectors(given)
    for first in range(0, len(block), step):
        last = min(first + step, len(block))
        users, their, asked = block.slice(first, last), known.slice(first, last), (given.users(first, last), None if vectors is None else vectors[first:last])
        if searched:
            found = pool.pooled(model, users, *asked, their, shop.policy, catalogue)
        else:
            found = Scores(catalogue.scores(score(model, asked[0], shop.policy.day, asked[1])), len(catalogue))
        parts.append(candidates.choose(found, users, their, shop.policy))
    names = {name for _, taken in parts for name in taken}
    return (candidates.joined([found for found, _ in parts]), {name: np.concatenate([taken[name] for _, taken in parts]) for name in names}, vectors)


def write_lists(connection, plan: dict, shard: int, shop: Shop, block: Shard, known: candidates.Known, found: candidates.Candidates) -> dict[str, np.ndarray]:
    """Builds, explains and writes the lists of every context for a block. Returns which home lists each soft rule touched."""
    target, moved = partition("user_recommendations", plan["publication_id"]), {}
    basket = candidates.last_basket(block.histories, len(shop.catalogue)) @ shop.together if shop.together is not None else None
    people = lists.People(block.users, known.segments, lists.tastes(block.histories, shop.shelf), basket)
    for name, context in shop.policy.rules.contexts.items():
        for built in lists.build(name, found, people, shop.policy, shop.catalogue, shop.shelf, shop.seed, moved):
            rows = lists.short(built, context) if context.fallback == "popular" else ()
            if len(rows):
                lists.fill(built, context, _closed(shop, block, known, rows), people, shop.policy, shop.catalogue, shop.popular)
            why = explain.reasons(shop.model, built, block, shop.policy.day, shop.catalogue)
            write.copy_in(connection, target, write.lists_rows(plan, shard, block.users, built, why, shop.catalogue))
    return moved


def count(touched: dict[str, int], shop: Shop, found: candidates.Candidates, taken: dict[str, np.ndarray], moved: dict[str, np.ndarray]) -> None:
    """Adds the lists that each rule touched: a hard rule took away something that scores at least as high as the last place."""
    length = min(shop.policy.rules.contexts[rules.HOME].length or shop.policy.length, found.scores.shape[1])
    last = np.partition(found.scores, found.scores.shape[1] - length, axis=1)[:, found.scores.shape[1] - length]
    for name, best in taken.items():
        touched[name] = touched.get(name, 0) + int(((best >= last) & (best > candidates.NOTHING)).sum())
    for name, rows in moved.items():
        touched[name] = touched.get(name, 0) + int(rows.sum())


def _closed(shop: Shop, block: Shard, known: candidates.Known, rows: np.ndarray) -> np.ndarray:
    """bool [rows, Q]: which popular items hard rules forbid these users."""
    order = np.argsort(shop.popular)
    asked = np.broadcast_to(shop.popular[order].astype(np.int32), (len(rows), len(order)))
    scores = Scores(np.zeros(asked.shape, dtype=np.float32), len(shop.catalogue), asked)
    candidates.close(scores, block.take(rows), known.take(rows), shop.policy)
    return np.isneginf(scores.values)[:, np.argsort(order)]
