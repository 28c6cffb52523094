"""The query classifier: a small BERT (all-MiniLM-L6-v2) fine-tuned on the shop's own searches, query → category.

Two readers of one query: the encoder, for what its words mean, and hashed character n-grams, for what a typing error or a
script that the encoder never saw leaves of them. A few n-grams learn together with the encoder; a reader that learned from far more
queries by itself (spelling.py) joins them, with the weight that validation gives it. The encoder's head starts as the embeddings of the categories' own names:
before the first step it already does zero-shot classification.
"""

import json
import random
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy import sparse

from ecomrec import augment, calibration, labels, spelling
from ecomrec.errors import InputError
from ecomrec.models import ngram_classifier
from ecomrec.models.answers import UNKNOWN
from ecomrec.models.encoder import batches, layer_groups, load_encoder, merge, precision, prepare, pushed, warm_linear
from ecomrec.models.encoder_classifier import EncoderClassifier, load
from ecomrec.models.tokens import BUCKETS, hashed, pad
from ecomrec.progress import Progress
from ecomrec.queries import misspell
from ecomrec.settings import Settings
from ecomrec.text import pooled

Echo = Callable[[str], None]
GOLDEN, GOLDEN_QUERIES = "golden.json", 200  # queries with the trained model's own logits: what was exported must still say the same
FOREIGN = 2000  # out-of-shop queries kept beside them, which measure what is called unknown


class Classifier(torch.nn.Module):
    """Token ids, mask and n-gram buckets int64 [B, T], [B, T], [B, G] → logits float32 [B, C] and unit vectors float32 [B, d]."""

    def __init__(self, encoder: torch.nn.Module, categories: int, ngrams: int, dropout: float = 0.1):
        super().__init__()
        self.encoder, self.head = encoder, torch.nn.Linear(encoder.config.hidden_size, categories)
        self.dropout = torch.nn.Dropout(dropout)
        self.table = torch.nn.Embedding(BUCKETS + 1, ngrams, padding_idx=0) if ngrams else None
        self.spelled = torch.nn.Linear(ngrams, categories, bias=False) if ngrams else None
        if ngrams:
            torch.nn.init.normal_(self.table.weight, std=0.1)
            torch.nn.init.zeros_(self.spelled.weight)  # at first the encoder alone decides

    def widen(self, table: torch.Tensor, layer: torch.Tensor, bias: torch.Tensor) -> None:
        """Adds another reader of the same n-grams, float32 [BUCKETS + 1, d], [C, d] and [C], beside the one that is there."""
        device = self.head.bias.device
        if self.table is not None:
            table, layer = torch.cat([self.table.weight.data, table.to(device)], 1), torch.cat([self.spelled.weight.data, layer.to(device)], 1)
        self.table = torch.nn.Embedding.from_pretrained(table.to(device), freeze=False, padding_idx=0)
        self.spelled = torch.nn.Linear(layer.shape[1], len(layer), bias=False, device=device)
        self.spelled.weight.data.copy_(layer)
        self.head.bias.data.add_(bias.to(device))

    def forward(self, input_ids, attention_mask, ngrams):
        meaning = pooled(self.encoder, input_ids, attention_mask)
        logits = self.head(self.dropout(meaning))
        if self.table is not None:
            there = (ngrams > 0).unsqueeze(-1).to(self.table.weight.dtype)
            spelling = (self.table(ngrams) * there).sum(1) / there.sum(1).clamp(min=1).sqrt()
            logits = logits + self.spelled(self.dropout(spelling))
        return logits, meaning


def train(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Fine-tunes on the training days; the validation days choose the state that is kept. Seeded: the same data and
    machine give the same weights.

    Writes `classifier.pt` (weights), `encoder.json`, `tokenizer.json`, `categories.json` and `golden.json` into `folder`. Returns queries,
    categories, steps, seconds, queries per second and the validation top-1 accuracy (0–1) at each check.
    """
    recipe, started = labels.recipe(), time.monotonic()
    rules = recipe["train"]
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    source, device = random.Random(settings.seed), "cuda" if torch.cuda.is_available() else "cpu"
    data = read(dataset, "train")
    categories = sorted({name for mix in data["mix"] for name in mix})
    tokenizer, model = _start(settings, categories, rules, device)
    texts, target = _examples(data, categories, recipe, tokenizer, settings.seed, source)
    tokens = tokenizer(texts, truncation=True, max_length=rules["max_tokens"])["input_ids"]
    grams = [hashed(text) for text in texts]
    plan = batches([len(row) for row in tokens], rules["batch"], source)
    checks = {round(len(plan) * (turn + 1) / rules["checks"]) for turn in range(rules["checks"])}
    optimizer = torch.optim.AdamW([*layer_groups(model.encoder, rules["learning_rate"], rules["layer_decay"]),
                                   {"params": model.head.parameters(), "lr": rules["head_learning_rate"], "weight_decay": 0.0},
                                   *([{"params": [model.table.weight, model.spelled.weight], "lr": rules["ngram_learning_rate"], "weight_decay": 0.0}]
                                     if rules["ngrams"] else [])], weight_decay=rules["weight_decay"])
    learned = [part for group in optimizer.param_groups for part in group["params"]]  # what is only pushed has gradients too
    schedule, kind = warm_linear(optimizer, len(plan), rules["warmup"]), precision(rules)
    adversary = _pushable(model) if rules["fgm"] else []
    echo(f"train: {len(data['query']):,} distinct queries, {len(categories)} categories; {len(texts):,} drawn, {len(plan)} steps on {device}, "
         f"{str(kind).removeprefix('torch.')}")
    best, history, told = (-1.0, None), [], Progress(echo, "train", len(plan), rules["batch"], "queries")
    for step, rows in enumerate(plan, 1):
        given = inputs([tokens[row] for row in rows], [grams[row] for row in rows], device)
        wanted = torch.from_numpy(target[rows].toarray()).to(device)

        def loss() -> torch.Tensor:
            with torch.autocast(device, kind, enabled=kind is not torch.float32):
                logits, _ = model(*given)  # noqa: B023 - called within this turn only
            return _loss(rules["loss"], logits.float(), wanted)  # noqa: B023

        value = loss()
        value.backward()
        if adversary:
            with pushed(adversary, rules["fgm"]):
                loss().backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
        model.zero_grad(set_to_none=True)
        if step in checks:
            found, valid = _valid_scores(model, tokenizer, dataset, rules, device, kind)
            accuracy = _accuracy(found[0], valid, categories)
            history.append({"step": step, "valid_top1": round(accuracy, 6)})
            if accuracy >= best[0]:  # without a validation query the last state is kept
                best = (accuracy, {name: part.detach().cpu().clone() for name, part in model.state_dict().items()})
            model.train()
        told(step, value.detach(), f", validation top-1 {history[-1]['valid_top1']:.4f}" if step in checks else "")
    encoded = told.seconds
    model.load_state_dict(best[1])
    model.encoder = merge(model.encoder)
    weights, accuracy = _add_spelling(model, tokenizer, data, dataset, categories, recipe, settings.seed, echo) if rules["spelling"] else ({}, best[0])
    asked = [data["query"][row] for row in np.argsort(-data["weight"], kind="stable")[:GOLDEN_QUERIES]]
    logits, _ = scores(model, tokenizer, asked, rules["max_tokens"], device)
    # Drawn now: a compressed model's tokenizer has only the words that it learned from.
    golden = {"queries": asked, "logits": np.round(logits.astype(float), 4).tolist(), "foreign": background(tokenizer, data, FOREIGN, 2, settings.seed)}
    (folder / GOLDEN).write_text(json.dumps(golden), encoding="utf-8")
    torch.save(model.state_dict(), folder / "classifier.pt")
    model.encoder.config.to_json_file(str(folder / "encoder.json"))
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "categories.json").write_text(json.dumps(categories), encoding="utf-8")
    seconds = time.monotonic() - started
    facts = {"queries": len(data["query"]), "categories": len(categories), "drawn": len(texts), "steps": len(plan), "seconds": round(seconds, 1),
             "queries_per_s": round(len(texts) / encoded, 1), "valid_top1": round(accuracy, 6), "checks": history, "spelling": weights,
             "precision": str(kind).removeprefix("torch.")}
    (folder / "training.json").write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")
    return facts


def read(dataset: Path, split: str) -> dict:
    """Distinct queries of a split, ascending: `{"query": [N], "mix": [{category: share}], "label": [N], "weight", "count"}`.

    `mix` sums to 1 per query; `label` is the category with the largest weight, ties to the first name; weight and count
    are float64 [N] totals over the query's categories.
    """
    table = pq.read_table(dataset / "queries.parquet", filters=[("split", "=", split)]).sort_by([("query", "ascending"), ("category", "ascending")])
    mixes: dict[str, dict[str, float]] = {}
    counts: dict[str, float] = {}
    for row in table.to_pylist():
        mixes.setdefault(row["query"], {})[row["category"]] = row["weight"]
        counts[row["query"]] = counts.get(row["query"], 0.0) + row["count"]
    totals = {query: sum(mix.values()) for query, mix in mixes.items()}
    return {"query": list(mixes), "mix": [{name: value / totals[query] for name, value in mix.items()} for query, mix in mixes.items()],
            "label": [max(mix, key=mix.__getitem__) for mix in mixes.values()],
            "weight": np.array(list(totals.values()), dtype=np.float64), "count": np.array(list(counts.values()), dtype=np.float64)}


def _start(settings: Settings, categories: list[str], rules: dict, device: str):
    tokenizer, encoder = load_encoder(settings.encoder, rules["dropout"])
    model = Classifier(encoder, len(categories), rules["ngrams"], rules["dropout"]).to(device)
    names = [" ".join(re.split(r"[\W_]+", name.lower().rpartition("/")[2])) + " " + name.lower().partition("/")[0] for name in categories]
    with torch.no_grad():
        model.eval()
        vectors = [pooled(model.encoder, *inputs(tokenizer(names[first:first + 128], truncation=True, max_length=32)["input_ids"], [], device)[:2])
                   for first in range(0, len(names), 128)]
        model.head.weight.copy_(rules["head_scale"] * torch.cat(vectors))
        model.head.bias.zero_()
    model.encoder = prepare(model.encoder, rules)
    return tokenizer, model.train()


def _examples(data: dict, categories: list[str], recipe: dict, tokenizer, seed: int, source: random.Random) -> tuple[list[str], sparse.csr_matrix]:
    """Texts of the training budget, varied, and their targets float32 [N, C]: the mix of categories, or the same for all out of shop."""
    rules, change = recipe["train"], augment.Augmenter(recipe["augment"], source)
    drawn = _draw(data, rules, seed)
    texts, target = [change(data["query"][row]) for row in drawn], _mixes(data, categories)[drawn]
    foreign = background(tokenizer, data, round(rules["background"] * len(texts)), 0, seed)
    flat = 0.0 if rules["loss"] == "bce" else 1 / len(categories)
    target = sparse.vstack([target, sparse.csr_matrix(np.full((len(foreign), len(categories)), flat, dtype=np.float32))]).tocsr()
    order = np.random.default_rng(seed).permutation(len(texts) + len(foreign)) if foreign else np.arange(len(texts))
    return [[*texts, *foreign][place] for place in order], target[order]


def _mixes(data: dict, categories: list[str]) -> sparse.csr_matrix:
    """The mix of each query, float32 [N, C]."""
    column = {name: place for place, name in enumerate(categories)}
    row, col, share = zip(*((place, column[name], part) for place, mix in enumerate(data["mix"]) for name, part in mix.items()), strict=True)
    return sparse.csr_matrix((np.array(share, dtype=np.float32), (row, col)), shape=(len(data["mix"]), len(categories)))


def _add_spelling(model: Classifier, tokenizer, data: dict, dataset: Path, categories: list[str], recipe: dict, seed: int, echo: Echo) -> tuple[dict[str, float], float]:
    """Trains a reader of spelling by itself and adds it to `model` with the weight that validation chooses: by the accuracy on queries as they were
    typed and with a typing error more. Returns the mean of both by weight, and the validation top-1 accuracy of what was chosen."""
    rules, source, device = recipe["train"], random.Random(seed), model.head.bias.device.type
    mistype = augment.Augmenter({**recipe["augment"], "typos": rules["spelling_typos"]}, source)
    reader = spelling.fit(data["query"], _mixes(data, categories), mistype, partial(_loss, rules["loss"]), rules, seed, echo)
    plain, valid = _valid_scores(model, tokenizer, dataset, rules, device, torch.float32)
    wrong = [misspell(query, source) for query in valid["query"]]
    parts = [(plain[0], spelling.logits(reader, valid["query"])), (scores(model, tokenizer, wrong, rules["max_tokens"], device)[0], spelling.logits(reader, wrong))]
    found = {weight: [_accuracy(meant + weight * spelled, valid, categories) for meant, spelled in parts] for weight in rules["spelling_weights"]}
    chosen = max(found, key=lambda weight: (sum(found[weight]), -weight))
    echo(f"train: spelling counts {chosen:g} beside the encoder: validation top-1 {found[chosen][0]:.4f}, with typing errors {found[chosen][1]:.4f}")
    if chosen:
        model.widen(*(torch.from_numpy(part) for part in (reader[0], chosen * reader[1], chosen * reader[2])))
    return {f"{weight:g}": round(sum(values) / 2, 6) for weight, values in found.items()}, found[chosen][0]


def background(tokenizer, data: dict, number: int, part: int, seed: int) -> list[str]:
    """Out-of-shop queries from the third `part` of the encoder's words: 0 trains, 1 calibrates, 2 measures."""
    vocabulary = tokenizer.get_vocab()
    words = {word: place for word, place in vocabulary.items() if place % 3 == part}
    return augment.background(words, {word for query in data["query"] for word in query.split()}, number, random.Random(seed + part))


def _draw(data: dict, rules: dict, seed: int) -> np.ndarray:
    """Rows of the training queries, `samples` in all: whole passes while they fit, then a weighted draw without repeats."""
    generator, rows = np.random.default_rng(seed), len(data["query"])
    whole, rest = divmod(rules["samples"], rows)
    whole = min(whole, 30)  # a tiny shop needs no thousand passes
    parts = [generator.permutation(rows) for _ in range(whole)]
    chance = data["weight"] ** rules["weight_power"]
    if rest and whole < 30:
        parts.append(generator.choice(rows, rest, replace=False, p=chance / chance.sum()))
    return np.concatenate(parts)


def _loss(kind: str, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if kind == "bce":
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / len(target)
    return torch.nn.functional.cross_entropy(logits, target)


def _pushable(model: Classifier) -> list[torch.nn.Parameter]:
    """What FGM moves: the word embeddings and the n-gram table, also where they are not learned."""
    words = model.encoder.get_input_embeddings().weight.requires_grad_(True)
    return [words, *([model.table.weight] if model.table is not None else [])]


def inputs(tokens: list[list[int]], grams: list[list[int]], device: str = "cpu") -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(array).to(device) for array in (*pad(tokens), pad(grams)[0]))


def scores(model: Classifier, tokenizer, queries: list[str], max_tokens: int, device: str = "cpu", kind: torch.dtype = torch.float32):
    """Logits float32 [N, C] and unit vectors float32 [N, d] of the PyTorch model."""
    tokens = tokenizer(queries, truncation=True, max_length=max_tokens)["input_ids"] if queries else []
    grams, order = [hashed(query) for query in queries], sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    logits = np.zeros((len(tokens), model.head.out_features), dtype=np.float32)
    vectors = np.zeros((len(tokens), model.head.in_features), dtype=np.float32)
    model.eval()
    with torch.inference_mode(), torch.autocast(device, kind, enabled=kind is not torch.float32):
        for first in range(0, len(order), 128):
            rows = order[first:first + 128]
            found = model(*inputs([tokens[row] for row in rows], [grams[row] for row in rows], device))
            logits[rows], vectors[rows] = (part.float().cpu().numpy() for part in found)
    return logits, vectors


def _valid_scores(model, tokenizer, dataset: Path, rules: dict, device: str, kind: torch.dtype, limit: int = 1500):
    """`_scores` of the `limit` heaviest validation queries, and those queries as `read` gives them."""
    data = read(dataset, "valid")
    rows = np.argsort(-data["weight"], kind="stable")[:limit]
    data = {name: values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows] for name, values in data.items()}
    return scores(model, tokenizer, data["query"], rules["max_tokens"], device, kind), data


def _accuracy(scores: np.ndarray, data: dict, categories: list[str]) -> float:
    """Top-1 accuracy weighted by how often each query was searched; 0 without queries."""
    if not len(scores):
        return 0.0
    return float(np.average([categories[place] == label for place, label in zip(scores.argmax(1), data["label"], strict=True)], weights=data["count"]))


def evaluate(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Measures the sealed candidate and both baselines on the test days' queries, as typed and with a typing error.

    Writes `evaluation.parquet` (one row per query: unit, weight = times searched, 1/0 top-1 correct per model),
    `evaluation.json` and the sealed `baselines/tfidf_lr`. Returns what evaluation.json holds.
    """
    rules, started = labels.recipe()["evaluate"], time.monotonic()
    training, test = read(dataset, "train"), read(dataset, "test")
    facts = json.loads((dataset / "labels.json").read_text(encoding="utf-8"))
    if not test["query"]:
        raise InputError(f"no labelled search on the test days from {facts.get('first_day', {}).get('test', '?')} to {facts['day']}",
                         "load those days, or train for an earlier day")
    # A query's rarest categories are chance: without them the baseline is better, and fitted sooner.
    rows = [(query, name, share * weight) for query, mix, weight in zip(training["query"], training["mix"], training["weight"], strict=True)
            for name, share in mix.items() if share >= min(rules["tfidf_share"], max(mix.values()))]
    queries, names, weights = (list(part) for part in zip(*rows, strict=True))
    echo(f"evaluate: fitting tfidf_lr on {len(rows):,} pairs of query and category")
    baseline = folder / "baselines" / "tfidf_lr"
    valid = read(dataset, "valid")
    ngram_classifier.fit(queries, names, np.array(weights), rules["tfidf_features"], settings.seed).calibrate(valid["query"], valid["label"], valid["count"]).save(baseline, day=facts["day"])
    fitted = time.monotonic() - started
    totals: dict[str, float] = {}
    for name, weight in zip(names, weights, strict=True):
        totals[name] = totals.get(name, 0.0) + weight
    common = sorted(totals, key=lambda name: (-totals[name], name))
    candidate = load(folder, settings.threads)
    models = {"candidate": candidate.predict, "tfidf_lr": ngram_classifier.load(baseline).predict,
              "majority": lambda texts, k: ([common[:k]] * len(texts), np.tile([totals[name] / sum(totals.values()) for name in common[:k]], (len(texts), 1)))}
    source = random.Random(settings.seed)
    slices = {"clean": test["query"],
              "typo": [misspell(query, source) if source.random() < rules["typo_share"] else query for query in test["query"]]}
    results, columns = {}, {}
    for name, predict in models.items():
        for part, texts in slices.items():
            found, chances = predict(texts, 3)
            results.setdefault(name, {})[part] = _measures(found, chances, test)
            if part == "clean":
                columns[name] = [int(top[0] == label) for top, label in zip(found, test["label"], strict=True)]
        echo(f"evaluate: {name} top-1 {results[name]['clean']['top1']:.4f}, with typing errors {results[name]['typo']['top1']:.4f}")
    report = {"models": results, "answers": _answers(candidate, test, json.loads((folder / GOLDEN).read_text(encoding="utf-8"))["foreign"]), "queries": len(test["query"]), "searches": int(test["count"].sum()), "day": facts["day"],
              "test_from": facts.get("first_day", {}).get("test"), "seed": settings.seed, "unseen_share": _unseen(test, set(training["query"])),
              "simulated": facts["simulated"], "tfidf_lr_seconds": round(fitted, 1), "seconds": round(time.monotonic() - started, 1),
              "note": ("Nobody's searches say yet what leads where: labels are the products' own TITLES. "
                       "These figures say how well titles are told apart, not how well queries are." if facts.get("titles") else
                       f"{facts['simulated']:.0%} of the labelled searches are SIMULATED from purchases: nobody typed them. "
                       "These figures say that the pipeline works, not how well it would understand real queries."
                       if facts["simulated"] else "All labels come from searches that really happened.")}
    columns = {name: pa.array(columns[name], pa.int8()) for name in ("candidate", "majority", "tfidf_lr")}
    pq.write_table(pa.table({"unit": test["query"], "weight": test["count"], **columns}), folder / "evaluation.parquet")
    (folder / "evaluation.json").write_text(json.dumps(report, indent=1, sort_keys=True), encoding="utf-8")
    echo(f"evaluate: {report['note']}")
    return report


def _measures(found: list[list[str]], chances: np.ndarray, test: dict) -> dict[str, float]:
    """Top-1 and top-3 accuracy and ECE weighted by searches, the ECE that chance alone would give so few of them, macro-F1 over the categories of the
    test days; all 0–1."""
    weight, labelled = test["count"], test["label"]
    first = np.array([top[0] == label for top, label in zip(found, labelled, strict=True)])
    third = np.array([label in top for top, label in zip(found, labelled, strict=True)])
    hit: dict[str, float] = {}
    said: dict[str, float] = {}
    real: dict[str, float] = {}
    for top, label, times in zip(found, labelled, weight, strict=True):
        said[top[0]] = said.get(top[0], 0.0) + times
        real[label] = real.get(label, 0.0) + times
        if top[0] == label:
            hit[label] = hit.get(label, 0.0) + times
    confidence = np.asarray(chances)[:, 0]
    return {"top1": round(float(np.average(first, weights=weight)), 6), "top3": round(float(np.average(third, weights=weight)), 6),
            "macro_f1": round(float(np.mean([2 * hit.get(name, 0.0) / (said.get(name, 0.0) + real[name]) for name in real])), 6),
            "ece": round(calibration.expected_error(confidence, first, weight), 6), "ece_by_chance": round(calibration.error_by_chance(confidence, weight), 6)}


def _answers(model: EncoderClassifier, test: dict, foreign: list[str]) -> dict[str, float]:
    """What a shopper gets: shares (0–1, by searches) answered with a leaf and not at all, how many of the answers given are right
    (the category or a parent of it), and the AUROC of telling the test queries from `foreign`, ones made of words the shop never used."""
    answers = model.answer(test["query"])
    given = np.array([answer.category != UNKNOWN for answer in answers])
    right = np.array([label == answer.category or label.startswith(answer.category + "/") for answer, label in zip(answers, test["label"], strict=True)])
    leaf = np.array([answer.category == answer.likely[0][0] for answer in answers]) & given
    weight, foreign = test["count"], foreign[:len(answers)]
    return {"leaf_share": round(float(np.average(leaf, weights=weight)), 6), "unknown_share": round(float(np.average(~given, weights=weight)), 6),
            "precision": round(float(np.average(right[given], weights=weight[given])), 6) if given.any() else 0.0,
            "unknown_auroc": round(calibration.auroc(model.familiar(test["query"]), model.familiar(foreign)), 6), "detector": model.calibration.detector}


def _unseen(test: dict, known: set[str]) -> float:
    """Share (0–1) of the test searches whose query no training day had."""
    return round(float(np.average([query not in known for query in test["query"]], weights=test["count"])), 6)
