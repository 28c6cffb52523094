"""The query classifier: a small BERT (all-MiniLM-L6-v2) fine-tuned on the shop's own searches, query → category.

Mean pooling over tokens and unit length (Reimers & Gurevych 2019, Sentence-BERT), then one linear layer that starts as
the embeddings of the categories' own names: before the first step it already does zero-shot classification.
"""

import json
import random
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from ecomrec import artifact, labels
from ecomrec import compress as onnx
from ecomrec.errors import AuditFailed, InputError, SettingsError
from ecomrec.models import ngram_classifier
from ecomrec.models.encoder_classifier import KIND, EncoderClassifier, load, pad
from ecomrec.queries import misspell
from ecomrec.settings import Settings
from ecomrec.text import encoder_path

Echo = Callable[[str], None]
PARITY_LOGITS, PARITY_TOP1 = 1e-3, 0.99  # what ONNX FP32 must keep of the PyTorch model


class Classifier(torch.nn.Module):
    """Token ids and mask int64 [B, T] → logits float32 [B, C]."""

    def __init__(self, encoder: torch.nn.Module, categories: int):
        super().__init__()
        self.encoder, self.head = encoder, torch.nn.Linear(encoder.config.hidden_size, categories)

    def embed(self, input_ids, attention_mask):
        """Unit vectors float32 [B, d]."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return torch.nn.functional.normalize(((hidden * mask).sum(1) / mask.sum(1).clamp(min=1)).float(), dim=1)

    def forward(self, input_ids, attention_mask):
        return self.head(self.embed(input_ids, attention_mask))


def train(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Fine-tunes on the training days; the validation days choose the state that is kept. Seeded: the same data and
    machine give the same weights.

    Writes `classifier.pt` (weights), `encoder.json`, `tokenizer.json` and `categories.json` into `folder`. Returns queries,
    categories, steps, seconds, queries per second and the validation top-1 accuracy (0–1) at each check.
    """
    rules, started = labels.recipe()["train"], time.monotonic()
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    source, device = random.Random(settings.seed), "cuda" if torch.cuda.is_available() else "cpu"
    data = read(dataset, "train")
    categories = sorted({name for mix in data["mix"] for name in mix})
    column = {name: place for place, name in enumerate(categories)}
    tokenizer, model = _start(settings, categories, rules, device)
    drawn = _draw(data, rules, settings.seed)
    texts = [misspell(data["query"][row], source) if source.random() < rules["typos"] else data["query"][row] for row in drawn]
    tokens = tokenizer(texts, truncation=True, max_length=rules["max_tokens"])["input_ids"]
    batches = _batches(tokens, rules["batch"], source)
    checks = {round(len(batches) * (turn + 1) / rules["checks"]) for turn in range(rules["checks"])}
    optimizer, schedule = _optimizer(model, rules, len(batches))
    precision = torch.bfloat16 if rules["precision"] == "auto" and _computes_bfloat16() else torch.float32
    echo(f"train: {len(data['query']):,} distinct queries, {len(categories)} categories; {len(drawn):,} drawn, {len(batches)} steps on {device}, "
         f"{str(precision).removeprefix('torch.')}")
    best, history, said, began = (-1.0, None), [], time.monotonic(), time.monotonic()
    for step, rows in enumerate(batches, 1):
        ids, mask = (torch.from_numpy(array).to(device) for array in pad([tokens[row] for row in rows]))
        target = torch.zeros(len(rows), len(categories), device=device)
        for place, row in enumerate(rows):
            for name, share in data["mix"][drawn[row]].items():
                target[place, column[name]] = share
        with torch.autocast(device, precision, enabled=precision is not torch.float32):
            logits = model(ids, mask)
        loss = _loss(rules["loss"], logits.float(), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step in checks:
            accuracy = _accuracy(*_valid_scores(model, tokenizer, dataset, rules, device, precision), categories)
            history.append({"step": step, "valid_top1": round(accuracy, 6)})
            if accuracy > best[0]:
                best = (accuracy, {name: value.detach().cpu().clone() for name, value in model.state_dict().items()})
            model.train()
        if time.monotonic() - said > 5 or step in checks:
            said, rate = time.monotonic(), step / (time.monotonic() - began)
            echo(f"train: step {step}/{len(batches)}, loss {loss.item():.3f}, {rate * rules['batch']:,.0f} queries/s, "
                 f"{(len(batches) - step) / rate:.0f} s to go" + (f", validation top-1 {history[-1]['valid_top1']:.4f}" if step in checks else ""))
    model.load_state_dict(best[1])
    torch.save(best[1], folder / "classifier.pt")
    model.encoder.config.to_json_file(str(folder / "encoder.json"))
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "categories.json").write_text(json.dumps(categories), encoding="utf-8")
    seconds = time.monotonic() - started
    facts = {"queries": len(data["query"]), "categories": len(categories), "drawn": len(drawn), "steps": len(batches), "seconds": round(seconds, 1),
             "queries_per_s": round(len(drawn) / (time.monotonic() - began), 1), "valid_top1": round(best[0], 6), "checks": history,
             "precision": str(precision).removeprefix("torch.")}
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
    path = encoder_path(settings.encoder)
    try:
        tokenizer, encoder = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path, attn_implementation="eager")
    except (OSError, ValueError) as error:
        raise SettingsError(f"ECOMREC_ENCODER={settings.encoder}: no text encoder there ({str(error).splitlines()[0]})",
                            "name a local folder, an installed package that carries a model, or a hub name that can be reached") from error
    encoder.pooler = None  # not part of a sentence encoder
    model = Classifier(encoder, len(categories)).to(device)
    for part in (encoder.embeddings, *encoder.encoder.layer[:rules["frozen_layers"]]):
        part.requires_grad_(False)
    names = [" ".join(re.split(r"[\W_]+", name.lower().rpartition("/")[2])) + " " + name.lower().partition("/")[0] for name in categories]
    with torch.no_grad():
        batch = tokenizer(names, truncation=True, max_length=32, padding=True, return_tensors="pt").to(device)
        model.eval()
        model.head.weight.copy_(rules["head_scale"] * model.embed(batch["input_ids"], batch["attention_mask"]))
        model.head.bias.zero_()
    return tokenizer, model.train()


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


def _batches(tokens: list[list[int]], size: int, source: random.Random) -> list[list[int]]:
    """Rows in batches of like length (little padding), within windows of 16 batches, the batches in random order."""
    batches = []
    for first in range(0, len(tokens), 16 * size):
        window = sorted(range(first, min(first + 16 * size, len(tokens))), key=lambda row: len(tokens[row]))
        found = [window[place:place + size] for place in range(0, len(window), size)]
        source.shuffle(found)
        batches += found
    return batches


def _optimizer(model: Classifier, rules: dict, steps: int):
    body = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW([{"params": body, "lr": rules["learning_rate"]},
                                   {"params": model.head.parameters(), "lr": rules["head_learning_rate"], "weight_decay": 0.0}],
                                  weight_decay=rules["weight_decay"])
    warm = max(1, round(steps * rules["warmup"]))
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm))))


def _loss(kind: str, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if kind == "bce":
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / len(target)
    return torch.nn.functional.cross_entropy(logits, target)


def _computes_bfloat16() -> bool:
    return torch.cuda.is_bf16_supported() if torch.cuda.is_available() else torch.cpu._is_avx512_bf16_supported()


def _valid_scores(model, tokenizer, dataset: Path, rules: dict, device: str, precision: torch.dtype, limit: int = 1500) -> tuple[np.ndarray, dict]:
    """Logits of the `limit` heaviest validation queries, and those queries as `read` gives them."""
    data = read(dataset, "valid")
    rows = np.argsort(-data["weight"], kind="stable")[:limit]
    data = {name: values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows] for name, values in data.items()}
    tokens = tokenizer(data["query"], truncation=True, max_length=rules["max_tokens"])["input_ids"] if data["query"] else []
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    scores = np.zeros((len(tokens), model.head.out_features), dtype=np.float32)
    model.eval()
    with torch.inference_mode(), torch.autocast(device, precision, enabled=precision is not torch.float32):
        for first in range(0, len(order), 128):
            part = order[first:first + 128]
            ids, mask = (torch.from_numpy(array).to(device) for array in pad([tokens[row] for row in part]))
            scores[part] = model(ids, mask).float().cpu().numpy()
    return scores, data


def _accuracy(scores: np.ndarray, data: dict, categories: list[str]) -> float:
    """Top-1 accuracy weighted by how often each query was searched; 0 without queries."""
    if not len(scores):
        return 0.0
    return float(np.average([categories[place] == label for place, label in zip(scores.argmax(1), data["label"], strict=True)], weights=data["count"]))


def compress(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Exports the classifier to ONNX, checks it against PyTorch, makes the INT8 variant and seals `folder` with the cheaper
    one that keeps `quality_kept` of the validation top-1 accuracy.

    Returns per variant: bytes, validation top-1 (0–1), largest difference of a logit, share of the same top-1, p50
    milliseconds of one query, queries per second in batches of 32; and the variant kept. Raises AuditFailed when FP32
    ONNX is not the PyTorch model.
    """
    rules = labels.recipe()
    started, max_tokens = time.monotonic(), rules["train"]["max_tokens"]
    if not (folder / "classifier.pt").exists():  # a task that was killed after sealing: the work is done
        return artifact.read_manifest(folder)["compression"]
    if settings.threads:
        torch.set_num_threads(settings.threads)
    categories = json.loads((folder / "categories.json").read_text(encoding="utf-8"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")
    model = Classifier(AutoModel.from_config(AutoConfig.from_pretrained(folder / "encoder.json"), attn_implementation="eager"), len(categories))
    model.encoder.pooler = None
    model.load_state_dict(torch.load(folder / "classifier.pt", weights_only=True))
    model.eval()
    expected, data = _valid_scores(model, tokenizer, dataset, rules["train"], "cpu", torch.float32)
    if not len(expected):  # no validation searches: parity is still checked, on the category names
        data = {"query": categories, "label": categories, "count": np.ones(len(categories))}
    example = tuple(torch.from_numpy(array) for array in pad(tokenizer(["a b", ""], truncation=True, max_length=max_tokens)["input_ids"]))
    axes = {"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}, "logits": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's notes on constants; parity is checked below
        onnx.export(model, example, folder / "model.onnx", ["input_ids", "attention_mask"], ["logits"], axes)
    onnx.int8(folder / "model.onnx", folder / "model.int8.onnx")
    if not len(expected):
        expected = _torch_scores(model, tokenizer, data["query"], max_tokens)
    variants = {}
    for name, file in (("fp32", "model.onnx"), ("int8", "model.int8.onnx")):
        served = EncoderClassifier(folder / file, folder / "tokenizer.json", categories, max_tokens, settings.threads)
        found = served.scores(data["query"])
        variants[name] = {"file": file, "bytes": (folder / file).stat().st_size, "valid_top1": round(_accuracy(found, data, categories), 6),
                          "max_abs_diff": float(np.abs(found - expected).max()), "same_top1": float((found.argmax(1) == expected.argmax(1)).mean()),
                          **_speed(served, data["query"])}
        echo(f"compress: {name} {variants[name]['bytes'] / 1e6:.1f} MB, validation top-1 {variants[name]['valid_top1']:.4f}, "
             f"{variants[name]['p50_ms']:.2f} ms a query, {variants[name]['queries_per_s']:,.0f} queries/s in batches of 32")
    parity = variants["fp32"]
    if parity["max_abs_diff"] > PARITY_LOGITS or parity["same_top1"] < PARITY_TOP1:
        raise AuditFailed(f"the ONNX export differs from the PyTorch model: logits by up to {parity['max_abs_diff']:.2g} (limit {PARITY_LOGITS}), "
                          f"same top-1 {parity['same_top1']:.4f} (limit {PARITY_TOP1})", "run the task again; if it stays, pin torch and onnxruntime as in requirements.txt")
    kept = "int8" if variants["int8"]["valid_top1"] >= rules["compress"]["quality_kept"] * parity["valid_top1"] else "fp32"
    for name in ("model.onnx", "model.int8.onnx"):
        if name != variants[kept]["file"]:
            (folder / name).unlink()
    facts = {"kept": kept, "variants": variants, "seconds": round(time.monotonic() - started, 1)}
    (folder / "classifier.pt").unlink()  # the sealed folder holds what serves, and no pickle
    artifact.write_manifest(folder, KIND, model=variants[kept]["file"], max_tokens=max_tokens, compression=facts,
                            categories=len(categories), day=json.loads((dataset / "labels.json").read_text(encoding="utf-8"))["day"], seed=settings.seed)
    return facts


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
    rows = [(query, name, share * weight) for query, mix, weight in zip(training["query"], training["mix"], training["weight"], strict=True)
            for name, share in mix.items()]
    queries, names, weights = (list(part) for part in zip(*rows, strict=True))
    echo(f"evaluate: fitting tfidf_lr on {len(rows):,} pairs of query and category")
    baseline = folder / "baselines" / "tfidf_lr"
    ngram_classifier.fit(queries, names, np.array(weights), rules["tfidf_features"], settings.seed).save(baseline, day=facts["day"])
    fitted = time.monotonic() - started
    totals: dict[str, float] = {}
    for name, weight in zip(names, weights, strict=True):
        totals[name] = totals.get(name, 0.0) + weight
    common = sorted(totals, key=lambda name: (-totals[name], name))
    models = {"candidate": load(folder, settings.threads).predict, "tfidf_lr": ngram_classifier.load(baseline).predict,
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
    report = {"models": results, "queries": len(test["query"]), "searches": int(test["count"].sum()), "day": facts["day"],
              "test_from": facts.get("first_day", {}).get("test"), "seed": settings.seed, "unseen_share": _unseen(test, set(training["query"])),
              "simulated": facts["simulated"], "tfidf_lr_seconds": round(fitted, 1), "seconds": round(time.monotonic() - started, 1),
              "note": (f"{facts['simulated']:.0%} of the labelled searches are SIMULATED from purchases: nobody typed them. "
                       "These figures say that the pipeline works, not how well it would understand real queries."
                       if facts["simulated"] else "All labels come from searches that really happened.")}
    columns = {name: pa.array(columns[name], pa.int8()) for name in ("candidate", "majority", "tfidf_lr")}
    pq.write_table(pa.table({"unit": test["query"], "weight": test["count"], **columns}), folder / "evaluation.parquet")
    (folder / "evaluation.json").write_text(json.dumps(report, indent=1, sort_keys=True), encoding="utf-8")
    echo(f"evaluate: {report['note']}")
    return report


def _measures(found: list[list[str]], chances: np.ndarray, test: dict) -> dict[str, float]:
    """Top-1 and top-3 accuracy and ECE weighted by searches, macro-F1 over the categories of the test days; all 0–1.

    ECE: expected calibration error over 15 equal bins of confidence (Guo et al. 2017, On Calibration of Modern Neural Networks).
    """
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
    bins = np.minimum((confidence * 15).astype(int), 14)
    error = sum(abs(np.sum(weight[bins == place] * (first[bins == place] - confidence[bins == place]))) for place in range(15))
    return {"top1": round(float(np.average(first, weights=weight)), 6), "top3": round(float(np.average(third, weights=weight)), 6),
            "macro_f1": round(float(np.mean([2 * hit.get(name, 0.0) / (said.get(name, 0.0) + real[name]) for name in real])), 6),
            "ece": round(float(error / weight.sum()), 6)}


def _unseen(test: dict, known: set[str]) -> float:
    """Share (0–1) of the test searches whose query no training day had."""
    return round(float(np.average([query not in known for query in test["query"]], weights=test["count"])), 6)


def _torch_scores(model: Classifier, tokenizer, queries: list[str], max_tokens: int) -> np.ndarray:
    tokens = tokenizer(queries, truncation=True, max_length=max_tokens)["input_ids"]
    with torch.inference_mode():
        return model(*(torch.from_numpy(array) for array in pad(tokens))).numpy()


def _speed(model: EncoderClassifier, queries: list[str]) -> dict[str, float]:
    """Median milliseconds of one query (100 after 10 to warm up) and queries per second in batches of 32."""
    single, batch = [], [queries[place % len(queries)] for place in range(320)]
    for place in range(110):
        began = time.perf_counter()
        model.predict([queries[place % len(queries)]])
        single.append(time.perf_counter() - began)
    began = time.perf_counter()
    for first in range(0, len(batch), 32):
        model.predict(batch[first:first + 32])
    return {"p50_ms": round(float(np.median(single[10:])) * 1000, 3), "queries_per_s": round(len(batch) / (time.perf_counter() - began), 1)}
