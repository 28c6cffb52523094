"""Catalogues that are too large to score whole: lists by an index against lists by scoring everything, in time and in what they hold.

    python -m benchmarks.large_catalogue [made] [real] [--items 200000 1000000] [--users 10000] [--work FOLDER]

made: a made-up shop from Postgres to Postgres as in benchmarks.recommend (the model untrained, its items of 2,000 kinds); all users' lists are
made twice, with the model's index and without. real: trained models, one for each data set, what recall their index has and how much faster it is, though
these catalogues are small enough to be scored whole. FOLDER keeps the trained models, as in benchmarks.compression.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import figure, merged, recommend, recommender_data, search, write
from ecomrec import artifact, database, recommender
from ecomrec.compression import recommender as recommender_desk
from ecomrec.compression import search as index_search
from ecomrec.models import Histories, loading
from ecomrec.settings import Settings

COMMAND = "python -m benchmarks.large_catalogue"
KINDS, NEIGHBOURS, PURCHASES = 2000, 100, 50
COMPARED = 300_000  # products up to which all are compared with all once, to say what an index misses; of a million that would take an hour


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["real", "made"])
    parser.add_argument("--items", type=int, nargs="*", default=[200_000, 1_000_000])
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--work", type=Path, default=Path(".ecomrec/compression"))
    asked = parser.parse_args()
    for part in asked.parts:
        for name in ("completejourney", "amazon-beauty") if part == "real" else [f"{items // 1000}k" for items in asked.items]:
            found = real(asked.work, name) if part == "real" else made(asked.users, 1000 * int(name[:-1]))
            cases = {f"{part}.{name}.{key}": value for key, value in found.items()}
            print(json.dumps({key: value["value"] for key, value in cases.items()}, indent=1), flush=True)
            print(write("large_catalogue", COMMAND, merged("large_catalogue", lambda key: key.startswith(f"{part}.{name}."), cases)), flush=True)  # noqa: B023 - called at once


def real(work: Path, name: str) -> dict:
    """What an index of a trained model's items finds of what scoring all of them does, for validation users."""
    place = work / f"recommender.{name}"
    data, folder, settings = place / "data", place / "model", Settings(_env_file=None, home=place / "home")
    if not (folder / recommender.TRAINING).is_file():
        recommender_data.build(settings, name, data)
        recommender.train(settings, data, folder, search.quiet)
    desk = recommender_desk.Desk(settings, data, folder, search.quiet)
    variant = desk.make({"name": "fp32"})
    with tempfile.TemporaryDirectory() as scratch:
        return told(index_search.fit(variant.facts["model"], desk.held["histories"], desk.held["day"], settings.seed, desk.rules["compress"]["recall"], Path(scratch), print), len(desk.data.item_ids))


def told(facts: dict, items: int) -> dict:
    return {"items": figure(items, "items"), "cells": figure(facts["cells"], "cells"), "probes": figure(facts["probes"], "cells read"), "depth": figure(facts["depth"], "times the candidates looked at"),
            "recall": figure(facts["recall"], f"of the best {index_search.DEEP}"), "candidates_faster": figure(facts["faster"], "x, from users' vectors to the best, one thread"),
            "index_s": figure(facts["seconds"], "s, once a model")}


def made(users: int, items: int) -> dict:
    """Lists of all users of a made-up shop with and without the index."""
    from ecomrec.migrations import migrate
    from ecomrec.runtime import postgres

    home = Path(tempfile.mkdtemp(prefix="ecomrec-bench-"))
    (home / "rules.toml").write_text(recommend.RULES)
    settings = Settings(_env_file=None, home=home, list_length=recommend.LENGTH, threads=1, rules=home / "rules.toml", exact_items=items - 1, shard_users=-(-users // 2))
    postgres.start(settings)
    try:
        migrate(settings.shop_dsn)
        recommend.fill(settings, users, items, PURCHASES)
        plain = recommend.make_model(home / "plain", items, kinds=KINDS, neighbours=NEIGHBOURS)
        searched = home / "searched"
        shutil.copytree(plain, searched)
        facts = fitted(settings, searched, items)
        found = {**told(facts, items), "users": figure(users, "users")}
        for name, folder in (("searched", searched), ("scored_whole", plain)):
            compared = name == "scored_whole" and items <= COMPARED
            done = recommend.publish(settings.model_copy(update={"exact_items": items}) if compared else settings, folder, name)
            found |= {f"{name}.users_per_s": figure(done["users"] / done["seconds"]["score"], "users/s, lists from Postgres to Postgres"), f"{name}.peak_mb": figure(done["peak_mb"], "MB a task"),
                      f"{name}.related_s": figure(done["seconds"]["related"], "s, related products")}
        found |= {"faster": figure(found["searched.users_per_s"]["value"] / found["scored_whole.users_per_s"]["value"], "x"), **alike(settings, items <= COMPARED)}
        broken = recommend.violations(settings)
        return found | {"violations": {**figure(sum(broken.values()) - broken["rows"], "rows"), **broken}}
    finally:
        postgres.stop(settings)
        shutil.rmtree(home, ignore_errors=True)


def fitted(settings: Settings, folder: Path, items: int) -> dict:
    """Gives the model in `folder` its index, as its compression would; judged by made-up users like those of the shop."""
    random, judges, config = np.random.default_rng(5), 500, json.loads((folder / "config.json").read_text())
    share = np.cumsum(np.arange(1, items + 1) ** -0.8)
    bought = np.searchsorted(share, random.random(judges * PURCHASES) * share[-1]).astype(np.int32)
    last = (recommend.DAY - recommend.date(1970, 1, 1)).days
    days = np.sort(random.integers(last - recommend.DAYS + 1, last + 1, (judges, PURCHASES)), axis=1).ravel().astype(np.int32)
    given = Histories(np.arange(judges + 1) * PURCHASES, bought, days, days * np.int64(86400), np.ones(len(days), dtype=np.float32))
    facts = index_search.fit(loading.load(folder, 1), given, last, settings.seed, recommender.recipe()["compress"]["recall"], folder, print)
    (folder / "config.json").write_text(json.dumps({**config, "probes": facts["probes"], "depth": facts["depth"]}))
    artifact.write_manifest(folder, kind="sequential")
    return facts


def alike(settings: Settings, similar: bool) -> dict:
    """How much the lists of the last two publications have in common, and the `similar` products where the last one compared all with all."""
    shared = "SELECT count(*) FROM unnest({0}.item_ids) AS i (id) WHERE i.id = ANY ({1}.item_ids)"
    with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT publication_id FROM ops.publications ORDER BY publication_id DESC LIMIT 2")
        whole, searched = (number for number, in cursor.fetchall())
        cursor.execute(f"""SELECT avg(({shared.format("s", "w")})::float / cardinality(w.item_ids)), avg((s.item_ids = w.item_ids)::int::float)
                           FROM recs.user_recommendations w JOIN recs.user_recommendations s USING (user_id, context, scope) WHERE w.publication_id = %s AND s.publication_id = %s""", (whole, searched))
        lists, same = cursor.fetchone()
        found = {"lists_shared": figure(lists, "of a list that scoring everything makes"), "lists_same": figure(same, "of the lists, place by place")}
        if not similar:
            return found
        cursor.execute(f"""SELECT avg(({shared.format("s", "w")})::float / cardinality(w.item_ids)) FROM recs.similar_items w JOIN recs.similar_items s USING (item_id)
                           WHERE w.publication_id = %s AND s.publication_id = %s""", (whole, searched))
        return found | {"similar_shared": figure(cursor.fetchone()[0], "of the similar products")}


if __name__ == "__main__":
    main()
