"""The retriever: all-MiniLM-L6-v2 fine-tuned so that a query lies near the products that answer it, fused with BM25.

Contrastive training with the other products of the batch and mined ones as negatives (InfoNCE: van den Oord et al. 2018;
multiple negatives: Henderson et al. 2017). The served weights lie between the fine-tuned and the pretrained ones, which
keeps what the encoder knew of words that the shop never used (WiSE-FT: Wortsman et al. 2022).
"""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import ir_measures
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from ir_measures import nDCG

from ecomrec.errors import InputError
from ecomrec.models.encoder import layer_groups, load_encoder, merge, precision, prepare, warm_linear
from ecomrec.progress import Progress
from ecomrec.search import hybrid, synthetic
from ecomrec.search.lexical import Lexical, words
from ecomrec.search.pairs import Products, products, recipe
from ecomrec.settings import Settings
from ecomrec.text import padded, pooled, vectors_of

Echo = Callable[[str], None]
K = 10
CANARIES = 100  # queries, among twice as many products, that are asked before a promotion


class Pooled(torch.nn.Module):
    """What is exported: ids and mask int64 [B, T] → unit vectors float32 [B, d]."""

    def __init__(self, encoder: torch.nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids, attention_mask):
        return pooled(self.encoder, input_ids, attention_mask)


def train(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Fine-tunes on the training days' pairs and on queries made from product texts. Seeded.

    Writes `encoder.pt` (weights), `encoder.json` and `tokenizer.json`; returns pairs, how many were made up, steps, seconds and
    pairs per second.
    """
    rules, started = recipe(), time.monotonic()
    own = rules["train"]
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    source, device = random.Random(settings.seed), "cuda" if torch.cuda.is_available() else "cpu"
    shop = products(pq.read_table(dataset / "items.parquet"))
    tokenizer, encoder = load_encoder(settings.encoder, own["dropout"])
    before = {name: part.clone() for name, part in encoder.state_dict().items()}
    pairs, real = pairs_of(dataset, shop, rules, encoder, tokenizer, settings.seed)
    echo(f"train: {len(pairs):,} pairs, {real:,} of them from searches, the rest made from product texts")
    encoder = prepare(encoder, own).to(device).train()
    negatives, bags = Negatives(dataset, shop, source), [set(words(text)) for text in shop.texts]
    steps = max(1, len(pairs) // own["batch"])
    optimizer = torch.optim.AdamW(layer_groups(encoder, own["learning_rate"], own["layer_decay"]), weight_decay=own["weight_decay"])
    schedule, kind = warm_linear(optimizer, steps, own["warmup"]), precision(own)
    told = Progress(echo, "train", steps, own["batch"], "pairs")
    for step in range(steps):
        rows = pairs[step * own["batch"]:(step + 1) * own["batch"]]
        asked, right = [query for query, _, _ in rows], [item for _, item, _ in rows]
        wrong = [negatives.draw(query, item) for query, item, _ in rows]
        shown = right + wrong
        texts = [_without(shop.texts[item], query) if made and source.random() < own["forget"] else shop.texts[item] for query, item, made in rows]
        texts += [shop.texts[item] for item in wrong]
        with torch.autocast(device, kind, enabled=kind is not torch.float32):
            left, right_side = (_embed(encoder, tokenizer, given, rules["text"]["max_tokens"], device) for given in (asked, texts))
        scores = left @ right_side.T / own["temperature"]
        # A product that answers the query too is no negative: a known answer, or one that has all the words of a made-up query.
        said = [set(words(query)) for query in asked]
        also = [[column != row and (item == right[row] or item in negatives.answers(asked[row]) or (rows[row][2] and said[row] <= bags[item]))
                 for column, item in enumerate(shown)] for row in range(len(rows))]
        scores = scores.masked_fill(torch.tensor(also, device=device), -1e4)
        loss = torch.nn.functional.cross_entropy(scores, torch.arange(len(rows), device=device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in encoder.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        told(step + 1, loss.detach())
    fitted_s = told.seconds
    after = {name: part.detach().cpu() for name, part in merge(encoder).state_dict().items()}
    mixed = {name: own["soup"] * part + (1 - own["soup"]) * before[name] if part.is_floating_point() else part for name, part in after.items()}
    torch.save(mixed, folder / "encoder.pt")
    encoder.config.to_json_file(str(folder / "encoder.json"))
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    facts = {"pairs": len(pairs), "from_searches": real, "steps": steps, "seconds": round(time.monotonic() - started, 1),
             "pairs_per_s": round(steps * own["batch"] / fitted_s, 1), "precision": str(kind).removeprefix("torch.")}
    (folder / "training.json").write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")
    return facts


class Negatives:
    """Products that do not answer a query: shown for it and never chosen; else with one of its words in the title; else of the answer's category."""

    def __init__(self, dataset: Path, shop: Products, source: random.Random):
        self._source, self._shop = source, shop
        place = {item: row for row, item in enumerate(shop.item_ids)}
        self._answers: dict[str, set[int]] = {}
        self._shown: dict[str, list[int]] = {}
        self._members: dict[str, list[int]] = {}
        self._having: dict[str, list[int]] = {}
        for query, item in _columns(dataset / "pairs.parquet", "query", "item_id", filters=[("split", "=", "train")]):
            self._answers.setdefault(query, set()).add(place[item])
        for query, item in _columns(dataset / "shown.parquet", "query", "item_id"):
            if item in place:
                self._shown.setdefault(query, []).append(place[item])
        for row, category in enumerate(shop.categories):
            self._members.setdefault(category, []).append(row)
        for row, title in enumerate(shop.titles):
            for word in set(words(title)):
                self._having.setdefault(word, []).append(row)

    def answers(self, query: str) -> set[int]:
        """Known answers of the training days."""
        return self._answers.get(query, set())

    def draw(self, query: str, item: int) -> int:
        """One product; any, when nothing better is found."""
        asked = words(query)
        pools = [self._shown.get(query, [])]
        pools.append(self._having.get(self._source.choice(asked), []) if len(asked) > 1 else [])
        pools.append(self._members[self._shop.categories[item]] if self._shop.categories[item] else [])
        for pool in pools:
            for _ in range(3):
                if pool and (found := self._source.choice(pool)) != item and found not in self.answers(query):
                    return found
        return self._source.randrange(len(self._shop.item_ids))


def evaluate(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Measures the sealed candidate, BM25 and the pretrained encoder on the test days' queries, among the same products: in a shop where nobody searched
    yet on queries made from product texts, and its `note` says so.

    Writes `evaluation.parquet` (unit, weight = times searched, NDCG@10 per model; grades: clicked 1, cart 2, bought 3) and
    `evaluation.json`, which it returns. Raises InputError where people searched, but not on the test days.
    """
    started, meta = time.monotonic(), json.loads((dataset / "meta.json").read_text(encoding="utf-8"))
    held = test_queries(settings, dataset)
    if not held["queries"]:
        raise InputError(f"no search of the test days from {meta['test_from']} to {meta['day']} led to a product",
                         "load those days, or leave the retriever out (Param families)")
    lexical, columns, means = Lexical(held["texts"]), {}, {}
    places = {"candidate": folder, "bm25": folder / "baselines" / "bm25", "zero_shot": folder / "baselines" / "zero_shot"}
    for name, place in places.items():
        columns[name] = quality(hybrid.load(place, settings.threads), held, lexical)
        means[name] = round(float(np.average(columns[name], weights=held["count"])), 5)
        echo(f"evaluate: {name} NDCG@{K} {means[name]:.4f}")
    report = {"models": means, "queries": len(held["queries"]), "products": len(held["texts"]), "day": meta["day"], "test_from": meta["test_from"],
              "seed": settings.seed, "seconds": round(time.monotonic() - started, 1),
              "note": "The queries are those of the test days." if meta["pairs"]["test"] else
                      "Nobody has searched yet: the queries are MADE from product texts. These figures say how well products are told apart, not what people would find."}
    pq.write_table(pa.table({"unit": held["queries"], "weight": held["count"], **columns}), folder / "evaluation.parquet")
    (folder / "evaluation.json").write_text(json.dumps(report, indent=1, sort_keys=True), encoding="utf-8")
    echo(f"evaluate: {report['note']}")
    return report


def test_queries(settings: Settings, dataset: Path) -> dict:
    """The queries of the test days that judge, most searched first, and the products that are searched: see `held_queries`."""
    rules = recipe()["evaluate"]
    return _judging(settings, dataset, products(pq.read_table(dataset / "items.parquet")), rules["queries"], rules["products"])


def _judging(settings: Settings, dataset: Path, shop: Products, most: int, size: int) -> dict:
    if sum(json.loads((dataset / "meta.json").read_text(encoding="utf-8"))["pairs"].values()):
        return held_queries(dataset, shop, "test", most, size, settings.seed)
    rows, kinds = drawn(shop, size, settings.seed + 2), synthetic.phrases(shop.titles, shop.brands)
    titles, brands, values, kinds = ([side[row] for row in rows] for side in (shop.titles, shop.brands, shop.values, kinds))
    # Without the likeness that chooses among a title's phrases for training: no model has a say in what judges it.
    return made_up(shop, rows, synthetic.queries(titles, brands, values, kinds, [np.zeros(len(found)) for found in kinds], recipe()["synthetic"], most, settings.seed + 2))


def drawn(shop: Products, size: int, seed: int) -> list[int]:
    """Rows of `size` products, ascending."""
    return sorted(random.Random(seed).sample(range(len(shop.item_ids)), min(size, len(shop.item_ids))))


def made_up(shop: Products, rows: list[int], made: list[tuple[str, int]]) -> dict:
    """As `held_queries` among the products `rows`, where nobody searched: `made` queries, each with the place in `rows` of the product that it was made from."""
    answers: dict[str, dict[int, int]] = {}
    for query, place in made:
        answers.setdefault(query, {})[place] = 1
    if not answers:  # a handful of products: their titles find them
        answers = {shop.titles[row] or shop.texts[row]: {place: 1} for place, row in enumerate(rows)}
    return {"queries": list(answers), "count": np.ones(len(answers)), "texts": [shop.texts[row] for row in rows], "grades": list(answers.values())}


def answers(settings: Settings, dataset: Path, folder: Path) -> list[list[str]]:
    """What the sealed model in `folder` finds for the first CANARIES test queries among few products: ids, best first, or that it finds nothing."""
    shop = products(pq.read_table(dataset / "items.parquet"))
    held = _judging(settings, dataset, shop, CANARIES, 2 * CANARIES)
    model = hybrid.load(folder, settings.threads)
    vectors = model.encode(held["texts"]) if model.encoder else None
    found, _ = model.search(held["queries"], vectors, Lexical(held["texts"]), held["texts"], K)
    return [[str(item) for item in row if item >= 0] or ["nothing"] for row in found]


def quality(model: hybrid.Retriever, held: dict, lexical: Lexical, queries: list[str] | None = None) -> np.ndarray:
    """NDCG@K of each query of `held`, float64 [Q]; `queries`: how each was typed, when otherwise."""
    vectors = model.encode(held["texts"]) if model.encoder else None
    return ndcg(model.search(queries or held["queries"], vectors, lexical, held["texts"], K)[0], held)


def ndcg(ranked: np.ndarray, held: dict) -> np.ndarray:
    """NDCG@K of each query, float64 [Q], as trec_eval defines it (ir-measures)."""
    qrels = [ir_measures.Qrel(str(row), str(item), int(grade)) for row, found in enumerate(held["grades"]) for item, grade in found.items()]
    run = [ir_measures.ScoredDoc(str(row), str(item), float(-place)) for row, found in enumerate(ranked) for place, item in enumerate(found) if item >= 0]
    values = np.zeros(len(ranked))
    for metric in ir_measures.iter_calc([nDCG @ K], qrels, run):
        values[int(metric.query_id)] = metric.value
    return values


def held_queries(dataset: Path, shop: Products, split: str, most: int, size: int, seed: int) -> dict:
    """The most searched queries of a split, `size` products to search among, and the grade of each answer by its place there."""
    asked: dict[str, dict[str, int]] = {}
    count: dict[str, float] = {}
    for query, item, grade, times in _columns(dataset / "pairs.parquet", "query", "item_id", "grade", "count", filters=[("split", "=", split)]):
        asked.setdefault(query, {})[item] = grade
        count[query] = count.get(query, 0.0) + times
    queries = sorted(asked, key=lambda query: (-count[query], query))[:most]
    needed = {item for query in queries for item in asked[query]}
    others = [row for row, item in enumerate(shop.item_ids) if item not in needed]
    rest = random.Random(seed).sample(others, max(0, min(len(others), size - len(needed))))
    rows = sorted([row for row, item in enumerate(shop.item_ids) if item in needed] + rest)
    place = {shop.item_ids[row]: number for number, row in enumerate(rows)}
    return {"queries": queries, "count": np.array([count[query] for query in queries]), "texts": [shop.texts[row] for row in rows],
            "grades": [{place[item]: grade for item, grade in asked[query].items()} for query in queries]}


def pairs_of(dataset: Path, shop: Products, rules: dict, encoder, tokenizer, seed: int) -> tuple[list[tuple[str, int, bool]], int]:
    """The training budget in random order: (query, row of the product, was it made up), and how many are from searches."""
    number, place, generator = rules["train"]["pairs"], {item: row for row, item in enumerate(shop.item_ids)}, np.random.default_rng(seed)
    found = [(query, place[item], weight) for query, item, weight in
             _columns(dataset / "pairs.parquet", "query", "item_id", "weight", filters=[("split", "=", "train")])]
    wanted = round(number * (1 - rules["synthetic"]["share"])) if found else 0
    chance = np.sqrt([weight for _, _, weight in found]) if found else np.ones(0)
    drawn = generator.choice(len(found), min(wanted, 20 * len(found)), p=chance / chance.sum()) if found else []
    real = [(found[row][0], found[row][1], False) for row in drawn]
    kinds = synthetic.phrases(shop.titles, shop.brands)
    made = synthetic.queries(shop.titles, shop.brands, shop.values, kinds, _likeness(kinds, shop, encoder, tokenizer, rules, seed), rules["synthetic"],
                             number - len(real), seed)
    both = real + [(query, row, True) for query, row in made]
    return [both[row] for row in generator.permutation(len(both))], len(real)


def _likeness(kinds: list[list[str]], shop: Products, encoder, tokenizer, rules: dict, seed: int) -> list[np.ndarray]:
    """Cosine of each product's kinds with its text, for as many products as the budget needs; the others' kinds count alike."""
    rows = set(random.Random(seed).sample(range(len(kinds)), min(len(kinds), rules["train"]["pairs"])))
    spans = sorted({span for row in rows for span in kinds[row]})
    where = {span: place for place, span in enumerate(spans)}
    chosen = sorted(rows)
    vectors = vectors_of(encoder, tokenizer, spans + [shop.texts[row] for row in chosen], rules["text"]["max_tokens"], precision(rules["train"]))
    of = {row: vectors[len(spans) + place] for place, row in enumerate(chosen)}
    return [np.array([vectors[where[span]] @ of[row] for span in found]) if row in of else np.zeros(len(found)) for row, found in enumerate(kinds)]


def _embed(encoder, tokenizer, texts: list[str], most: int, device: str = "cpu") -> torch.Tensor:
    return pooled(encoder, *padded(tokenizer(texts, truncation=True, max_length=most)["input_ids"], device))


def _without(text: str, query: str) -> str:
    """The text without the words of the query; as it is when nothing would be left."""
    asked = set(words(query))
    return " ".join(word for word in text.split() if not set(words(word)) & asked) or text


def _columns(path: Path, *names: str, filters=None):
    """Rows of a Parquet file as tuples."""
    table = pq.read_table(path, columns=None, filters=filters)
    return zip(*(table[name].to_pylist() for name in names), strict=True)
