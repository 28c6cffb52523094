"""A publication's lists from Postgres to Postgres, on a made-up shop: users a second, memory, and beside them bare peers.

    python -m benchmarks.recommend [users] [items]

Environment: BENCH_WITHOUT_REFRESH leaves the change of the catalogue out, BENCH_TRY the file of results, BENCH_HOME names a folder to work in.
The shop is synthetic (50 purchases a user, popularity falls with rank^-0.8) and so is the model: the real encoder, untrained, over
real-sized tables, blended with an item-item part of NEIGHBOURS weights an item. Speed does not depend on what the numbers are; quality is measured by the recommender's own benchmark.
"""

import io
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from benchmarks import figure, merged, write
from ecomrec import artifact, database
from ecomrec.settings import Settings

COMMAND = "python -m benchmarks.recommend"
DAY, DAYS, LENGTH, DIM, NEIGHBOURS = date(2017, 3, 31), 30, 50, 64, 300
RULES = """
candidates = 200
reserve = 50
[contexts.home]
minimum = 10
diversity = 0.1
[[repeat]]
category = "C01"
again = "never"
[[rules]]
name = "no C02"
do = "exclude"
category = "C02"
[[rules]]
name = "B3 first"
do = "boost"
brand = "B3"
strength = 0.5
[[rules]]
name = "five of a kind"
do = "cap"
per = "category"
at_most = 5
"""


def make_model(folder: Path, items: int, seed: int = 1, kinds: int = 0, neighbours: int = NEIGHBOURS) -> Path:
    """A sealed sequential model of the real size, untrained; its items are of so many `kinds`, each around a point of its own (0: of none)."""
    import torch
    from scipy import sparse

    from ecomrec.compression import graph
    from ecomrec.models import Recency, itemitem, standin
    from ecomrec.models.sequential import UserEncoder

    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    axes = {"vectors": {0: "users", 1: "baskets"}, "days": {0: "users", 1: "baskets"}, "last": {0: "users"}, "states": {0: "users"}}
    example = torch.zeros(2, 3, DIM), torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    graph.export(UserEncoder(DIM, 2, 1, 0.0).eval(), example, folder / "fp32.onnx", ["vectors", "days", "last"], ["states"], axes)
    feeds = [dict(zip(("vectors", "days", "last"), (random.normal(size=(8, 9, DIM)).astype(np.float32), np.sort(random.integers(0, 30, (8, 9)), axis=1), np.full(8, 8)), strict=True))
             for _ in range(8)]
    graph.static_int8(folder / "fp32.onnx", folder / "encoder.onnx", feeds)  # what is served unless it costs quality
    (folder / "fp32.onnx").unlink()
    popularity = np.arange(1, items + 1, dtype=np.float32) ** -0.8
    table = random.normal(size=(items, DIM)).astype(np.float32) / 8
    if kinds:
        table = table / 2 + random.normal(size=(kinds, DIM)).astype(np.float32)[random.integers(0, kinds, items)] / 8
    np.savez(folder / "tables.npz", item_ids=np.array([f"i{n:06}" for n in range(items)]), table=table,
             bias=np.log(popularity), again=np.full(items, 2, dtype=np.float32), popularity=popularity)
    vectors = random.normal(size=(items, DIM)).astype(np.float32)
    if kinds:
        vectors = vectors / 2 + random.normal(size=(kinds, DIM)).astype(np.float32)[random.integers(0, kinds, items)]
    np.save(folder / "item_vectors.npy", (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16))
    (folder / "config.json").write_text(json.dumps({"encoder": "encoder.onnx", "max_baskets": 50, "half_life": 30.0, "repeat": 1.0, "scale": 20.0, "share": 0.3,
                                                    "blend": 0.1, "readiness": 1.0, "trend": 0.1, "by_event": False}))
    ids = np.array([f"i{n:06}" for n in range(items)])
    near = np.sort(random.choice(items, (items, neighbours), p=popularity / popularity.sum()).astype(np.int32), axis=1)  # what sells goes with most
    weights = sparse.csr_matrix((random.random(near.size).astype(np.float32), near.ravel(), np.arange(0, near.size + 1, neighbours)), shape=(items, items))
    weights.sum_duplicates()
    itemitem.save(folder / "linear", itemitem.ItemItem(ids, weights, Recency(30.0), popularity))
    standin.StandIn(random.normal(size=(len(standin.SPEEDS) * DIM, DIM)).astype(np.float32) / 8, np.zeros(DIM, dtype=np.float32), 0.0).save(folder)
    artifact.write_manifest(folder, kind="sequential")
    return folder


def fill(settings: Settings, users: int, items: int, purchases: int = 50, seed: int = 1) -> float:
    """The catalogue and the events, day by day as a load does it, two days at once; returns seconds."""
    started = time.monotonic()
    with database.connect(settings.shop_dsn) as connection:
        rows = io.StringIO("".join(f"i{n:06},thing {n},C{n % 40:02}/S{n % 400:03},B{n % 97},{1 + n % 50},2017-01-01,{'false' if n % 50 == 7 else 'true'},2017-01-01\n" for n in range(items)))
        database.copy_in(connection, "core.items", ("item_id", "title", "category", "brand", "price", "updated_at", "in_stock", "loaded_day"), rows)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(fill_day, [(settings, users, items, purchases, seed, back) for back in range(DAYS)]))
    with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE core.events; ANALYZE core.items")
    return time.monotonic() - started


def fill_day(arguments: tuple) -> None:
    """The purchases of one day; on the last one everybody buys something."""
    settings, users, items, purchases, seed, back = arguments
    random, day, rows = np.random.default_rng([seed, back]), DAY - timedelta(days=back), users * purchases // DAYS
    share = np.cumsum(np.arange(1, items + 1) ** -0.8)
    user, item = random.integers(0, users, rows), np.searchsorted(share, random.random(rows) * share[-1])
    if back == 0:
        user[:min(users, rows)] = np.arange(min(users, rows))
    text = io.StringIO("".join(f"{day},{n},{day} 12:00Z,u{u:07},purchase,i{i:06},1,1\n" for n, (u, i) in enumerate(zip(user.tolist(), item.tolist(), strict=True))))
    leaf = f"core.events_{day:%Y%m%d}"
    with database.connect(settings.shop_dsn) as connection:
        database.execute(connection, "ingest/create_staged_day", {"day": day}, leaf=leaf)
        database.copy_in(connection, leaf, ("event_day", "event_id", "event_time", "user_id", "event_type", "item_id", "price", "quantity"), text, freeze=True)
        database.execute(connection, "ingest/index_staged_day", {"leaf": leaf}, leaf=leaf)
        database.lock(connection, "fill")  # one at a time from here on: they attach to the same table
        database.execute(connection, "ingest/attach_staged_day", {"day": day}, table="core.events", leaf=leaf)


def score(arguments: tuple) -> dict:
    """One mapped task, in a process of its own as under Airflow; adds its peak memory (MB) and the seconds that its rows took to Postgres."""
    from ecomrec.recommend import write
    from ecomrec.recommend.shard import score_shard

    plain, spent = write.copy_in, []

    def timed(*given):
        began = time.monotonic()
        rows = plain(*given)
        spent.append(time.monotonic() - began)
        return rows

    write.copy_in = timed
    try:
        done = score_shard(*arguments)
    finally:
        write.copy_in = plain
    peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {**done, "peak_mb": peak / 1000, "copy_s": sum(spent)}


def publish(settings: Settings, model: Path, key: str, workers: int = 2) -> dict:
    """Prepare, related, score, profiles, audit, go live; returns seconds of each, peak memory and the plan."""
    from ecomrec import profiles, publication
    from ecomrec.recommend.related import build
    from ecomrec.recommend.shard import prepare

    seconds, at = {}, time.monotonic()

    def lap(name: str) -> None:
        nonlocal at
        seconds[name], at = time.monotonic() - at, time.monotonic()
        print(f"  {name}: {seconds[name]:.1f} s", flush=True)

    plan = publication.open_publication(settings, key, DAY.isoformat(), "recommender/1 (benchmark)")
    prepare(settings, plan, str(model))
    lap("prepare")
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        done = list(pool.map(score, [(settings, plan, shard, str(model)) for shard in plan["shards"]]))
    lap("score")
    build(settings, plan, str(model))
    lap("related")
    profiles.build(settings, plan["publication_id"], plan["day"])
    lap("profiles")
    found = publication.audit(settings, plan["publication_id"], plan["day"])
    lap("audit")
    publication.go_live(settings, plan["publication_id"], found)
    lap("go_live")
    return {"seconds": seconds, "peak_mb": max(part["peak_mb"] for part in done), "copy_s": sum(part["copy_s"] for part in done), "users": sum(part["users"] for part in done), "plan": plan, "shards": len(done)}


def renew(arguments: tuple) -> dict:
    from ecomrec.recommend.refresh import refresh_shard

    return refresh_shard(*arguments)


def refreshed(settings: Settings, model: Path, items: int, workers: int = 2) -> dict:
    """One product of a hundred goes out of stock: seconds of the refresh and of a full run after it, and how many lists differ between the two."""
    from ecomrec.publication import partition
    from ecomrec.recommend import refresh

    gone = [f"i{number:06}" for number in np.random.default_rng(4).choice(items, items // 100, replace=False)]
    with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items SET in_stock = false WHERE item_id = ANY (%s)", (gone,))
    started = time.monotonic()
    made = refresh.plan(settings, "refresh", "recommender/1 (benchmark)", str(model))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        done = list(pool.map(renew, [(settings, made, shard) for shard in made["shards"]]))
    refresh.publish(settings, made, "benchmark")
    seconds = time.monotonic() - started
    print(f"  refresh: {seconds:.1f} s, {sum(part['scored'] for part in done):,} users scored again", flush=True)
    full = publish(settings, model, "after")
    pair = [partition("user_recommendations", number) for number in (made["publication_id"], full["plan"]["publication_id"])]
    with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {pair[0]} a FULL JOIN {pair[1]} b USING (user_id, context, scope) WHERE a.item_ids IS DISTINCT FROM b.item_ids")
        return {"seconds": seconds, "full": sum(full["seconds"].values()), "scored": sum(part["scored"] for part in done), "different": cursor.fetchone()[0]}


def faiss_alone(users: int, items: int) -> float:
    """Users a second of bare faiss.IndexFlatIP on as many vectors of the same size, N = 200, all cores."""
    import faiss

    random = np.random.default_rng(2)
    index = faiss.IndexFlatIP(DIM)
    index.add(random.normal(size=(items, DIM)).astype(np.float32))
    asked = random.normal(size=(min(users, 10_000), DIM)).astype(np.float32)
    index.search(asked[:500], 200)
    started = time.monotonic()
    index.search(asked, 200)
    return len(asked) / (time.monotonic() - started)


def implicit_rate(settings: Settings, users: int, items: int) -> float:
    """Users a second of what is commonly done: `implicit`'s recommend for factors of the same size (what was bought left out, k = LENGTH),
    a row per user and item, written by execute_values as to_sql does. On a sample; all cores."""
    from implicit.cpu.als import AlternatingLeastSquares
    from psycopg2.extras import execute_values
    from scipy import sparse

    random, sample = np.random.default_rng(3), min(users, 5_000)
    model = AlternatingLeastSquares(factors=DIM)
    model.user_factors, model.item_factors = (random.normal(size=(size, DIM)).astype(np.float32) for size in (sample, items))
    bought = sparse.csr_matrix((np.ones(50 * sample, dtype=np.float32), random.integers(0, items, 50 * sample), np.arange(0, 50 * sample + 1, 50)), shape=(sample, items))
    started = time.monotonic()
    ids, scores = model.recommend(np.arange(sample), bought, N=LENGTH, filter_already_liked_items=True)
    with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE staging.peer (user_id text, rank int, item_id text, score real)")
        rows = [(f"u{user:07}", rank, f"i{item:06}", float(score)) for user, (names, values) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True))
                for rank, (item, score) in enumerate(zip(names, values, strict=True), 1)]
        execute_values(cursor, "INSERT INTO staging.peer VALUES %s", rows, page_size=1000)
    seconds = time.monotonic() - started
    with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE staging.peer")
    return sample / seconds


def violations(settings: Settings) -> dict:
    """Rows of the live lists, and how many of them break a rule or the stock, by SQL that shares nothing with what made them."""
    broken = {"sold_out": "NOT i.in_stock OR i.deleted", "excluded": "i.category LIKE 'C02%'",
              "bought_again": "i.category LIKE 'C01%' AND EXISTS (SELECT FROM core.events e WHERE e.user_id = l.user_id AND e.item_id = l.item_id)"}
    counted = ", ".join(f"count(*) FILTER (WHERE {rule})" for rule in broken.values())
    with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"""SELECT count(*), {counted} FROM (SELECT r.user_id, unnest(r.item_ids) AS item_id FROM recs.user_recommendations r
                           JOIN analytics.publication p USING (publication_id)) AS l LEFT JOIN core.items i USING (item_id)""")
        total, *found = cursor.fetchone()
        cursor.execute("""SELECT count(*) FROM (SELECT r.user_id FROM recs.user_recommendations r JOIN analytics.publication p USING (publication_id)
                          CROSS JOIN LATERAL unnest(r.item_ids) AS item_id JOIN core.items i USING (item_id) WHERE r.context = 'home'
                          GROUP BY r.user_id, i.category HAVING count(*) > 5) AS over""")
        return {"rows": total, **dict(zip(broken, found, strict=True)), "over_the_cap": cursor.fetchone()[0]}


def bare_copy(settings: Settings, plan: dict) -> dict:
    """COPY (text, as is usual) of the very rows that were published into tables without keys: bytes of the published tables and seconds."""
    from ecomrec.publication import partition

    names, seconds = [partition(table, plan["publication_id"]) for table in ("user_recommendations", "user_candidates")], 0.0
    with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        for name in names:
            with tempfile.TemporaryFile() as spool:
                cursor.copy_expert(f"COPY {name} TO STDOUT (FORMAT csv)", spool)
                spool.seek(0)
                cursor.execute(f"CREATE TABLE staging.bare AS SELECT * FROM {name} LIMIT 0")
                connection.commit()  # else Postgres, which made the table in the same transaction, would write no log of it
                started = time.monotonic()
                cursor.copy_expert("COPY staging.bare FROM STDIN (FORMAT csv)", spool)
                connection.commit()
                seconds += time.monotonic() - started
                cursor.execute("DROP TABLE staging.bare")
        cursor.execute("SELECT pg_total_relation_size(%s), pg_total_relation_size(%s)", names)
        lists, candidates = cursor.fetchone()
    return {"seconds": seconds, "list_bytes": lists, "candidate_bytes": candidates}


def main(users: int = 100_000, items: int = 50_000) -> None:
    """Measures and writes results/recommend.json."""
    from ecomrec.migrations import migrate
    from ecomrec.runtime import postgres

    home = Path(os.environ.get("BENCH_HOME") or tempfile.mkdtemp(prefix="ecomrec-bench-"))
    (home / "rules.toml").write_text(RULES)
    settings = Settings(_env_file=None, home=home, list_length=LENGTH, threads=1, rules=home / "rules.toml")
    postgres.start(settings)
    try:
        migrate(settings.shop_dsn)
        print(f"filling {users:,} users x {items:,} items", flush=True)
        print(f"  {fill(settings, users, items):.1f} s", flush=True)
        model = make_model(home / "model", items)
        done = publish(settings, model, "first")
        alone, copied, peer, broken = faiss_alone(users, items), bare_copy(settings, done["plan"]), implicit_rate(settings, users, items), violations(settings)
        rate, whole = done["users"] / done["seconds"]["score"], done["users"] / sum(done["seconds"].values())
        cases = {"users_per_s": figure(rate, "users/s"), "peak_mb_per_task": figure(done["peak_mb"], "MB"), "faiss_users_per_s": figure(alone, "users/s"),
                 "ratio_to_faiss": figure(rate / alone, "x"),
                 "whole_users_per_s": figure(whole, "users/s, from prepare to live"), "implicit_users_per_s": figure(peer, "users/s"),
                 "ratio_to_implicit": figure(rate / peer, "x"), "violations": {**figure(sum(broken.values()) - broken["rows"], "rows"), **broken}, "bytes_per_user": figure(copied["list_bytes"] / done["users"], "bytes"),
                 "candidate_bytes_per_user": figure(copied["candidate_bytes"] / done["users"], "bytes"), "bare_copy_s": figure(copied["seconds"], "s, one stream"),
                 "copy_s": figure(done["copy_s"], "s, all streams together, keys kept and numbers encoded"), "ratio_to_copy": figure(copied["seconds"] / done["copy_s"], "x"),
                 **{f"{name}_s": figure(value, "s") for name, value in done["seconds"].items()}}
        again = refreshed(settings, model, items) if "BENCH_WITHOUT_REFRESH" not in os.environ else None
        cases |= {} if again is None else {"refresh_share": figure(again["seconds"] / again["full"], "of a full run's time; one product of a hundred went out of stock"), "refresh_s": figure(again["seconds"], "s"),
                  "refresh_scored": figure(again["scored"] / done["users"], "of the users"), "refresh_different": figure(again["different"], "lists that a full run would make otherwise")}
        print(json.dumps({name: case["value"] for name, case in cases.items()}, indent=1))
        if "BENCH_TRY" not in os.environ:
            size = f"users_{users // 1000}k."  # a name without a size is of the largest one that has it
            whole = merged("recommend", lambda name: name.startswith(size) or "." not in name, {f"{size}{name}": case for name, case in cases.items()})
            for each in sorted({name.split(".")[0] for name in whole if name.startswith("users_")}, key=lambda name: int(name[6:-1])):
                whole |= {name.split(".", 1)[1]: case for name, case in whole.items() if name.startswith(f"{each}.")}
            print(write("recommend", f"{COMMAND} {users} {items}", whole))
    finally:
        postgres.stop(settings)
        if "BENCH_HOME" not in os.environ:
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:3]))
