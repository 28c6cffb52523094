"""Compresses the query classifier: pruned and distilled variants of the trained one, in ONNX, and the choice among them.

What a student learns from needs no labels: the training days' queries, varied, the queries that led to nothing, and words of
the encoder's own vocabulary, alone and beside a query, for which the teacher says what it makes of words the logs never had.
A misspelled text is to be answered as the teacher answers what was meant (a noised student of an un-noised teacher, Xie et al. 2020):
so a small student may read errors better than its teacher does.
"""

import copy
import json
import random
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from ecomrec import artifact, augment, calibration, gates, labels, metrics
from ecomrec.compression import distil, graph, prune, students, variants
from ecomrec.errors import AuditFailed
from ecomrec.models.answers import Calibration
from ecomrec.models.encoder import precision, tokenizer_of
from ecomrec.models.encoder_classifier import KIND, EncoderClassifier
from ecomrec.models.tokens import hashed
from ecomrec.queries import normalise
from ecomrec.query_classifier import GOLDEN, Classifier, background, inputs, read, scores
from ecomrec.settings import Settings

Echo = Callable[[str], None]
PARITY_LOGITS, PARITY_TOP1 = 1e-3, 0.99  # what ONNX FP32 must keep of the PyTorch model
NEIGHBOURS = 4000  # training queries that an unknown one is compared with
ASKED = 0.5  # most of the transfer texts that people typed; the others are made from them and from the language's words
TRAINED = ("tokenizer.json", "classifier.pt")  # what training wrote and the sealed folder has otherwise or not at all: hidden until it is sealed
BENCH = ".variants"  # where they are made, below the model's folder; gone when one is chosen


def compress(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Makes the recipe's variants of the classifier, measures them, calibrates the chosen one and seals `folder` with it.

    Returns what the manifest keeps as `compression`: the variant served, every variant's row (`ecomrec.compression.variants`),
    how well unknown queries are told, seconds. Raises AuditFailed when FP32 ONNX is not the PyTorch model.
    """
    rules = labels.recipe()
    if not artifact.restore(folder, TRAINED):
        return artifact.read_manifest(folder)["compression"]
    started, bench = time.monotonic(), folder / BENCH
    shutil.rmtree(bench, ignore_errors=True)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    desk = Desk(settings, dataset, folder, rules, echo)
    made, skipped = [desk.teacher(), desk.make(rules["compress"]["variants"][0])], {}
    desk.check_parity(made[1])
    for wish in rules["compress"]["variants"][1:]:
        if found := variants.attempt(wish["name"], lambda: desk.make(wish), skipped, echo):  # noqa: B023 - called within this turn only
            made.append(found)
    rows = variants.measure(made, desk.data["query"], desk.data["count"], settings.seed, echo)
    served = variants.choose(rows, limits(rules))
    artifact.hide(folder, TRAINED)
    desk.keep(served)
    model = EncoderClassifier(folder / "model.onnx", folder / "tokenizer.json", desk.categories, desk.max_tokens, settings.threads)
    why = next(row["why"] for row in rows if row["chosen"])
    read_as, familiar = _calibrate(model, desk.tokenizer, dataset, folder, desk.data, rules, settings.seed)
    echo(f"compress: {served} is served: {why}; temperature {read_as.temperature:.3f}; out-of-shop queries by {read_as.detector} "
         f"(validation AUROC {familiar[read_as.detector]:.3f})")
    facts = {"served": served, "variants": variants.table(rows, skipped), "valid_auroc": familiar, "seconds": round(time.monotonic() - started, 1)}
    shutil.rmtree(bench)
    artifact.write_manifest(folder, KIND, model="model.onnx", max_tokens=desk.max_tokens, compression=facts, onnx=graph.facts(folder / "model.onnx"), calibration=read_as.facts(),
                            categories=len(desk.categories), day=json.loads((dataset / "labels.json").read_text(encoding="utf-8"))["day"], seed=settings.seed)
    artifact.forget(folder, TRAINED)
    return facts


def limits(rules: dict) -> dict:
    """What a variant must keep: the recipe's limits, and the parity that the gates will ask for."""
    asked = (limit["most"] for limit in gates.rules_of("query_classifier")["limits"].values() if limit["fact"] == "parity")
    return {**rules["compress"], "parity": next(asked, np.inf)}


class Desk:
    """The trained classifier, the validation queries, and the folder where variants are made."""

    def __init__(self, settings: Settings, dataset: Path, folder: Path, rules: dict, echo: Echo):
        self.settings, self.dataset, self.folder, self.rules, self.echo = settings, dataset, folder, rules, echo
        self.max_tokens, self.categories = rules["train"]["max_tokens"], json.loads((folder / "categories.json").read_text(encoding="utf-8"))
        self.tokenizer = tokenizer_of(folder)
        encoder = AutoModel.from_config(AutoConfig.from_pretrained(folder / "encoder.json"), attn_implementation="eager")
        encoder.pooler = None
        state = torch.load(folder / "classifier.pt", weights_only=True)
        self.model = Classifier(encoder, len(self.categories), state["table.weight"].shape[1] if "table.weight" in state else 0, 0.0)
        self.model.load_state_dict(state)
        self.model.eval()
        self.data = read(dataset, "valid")
        if not self.data["query"]:  # no validation searches: the categories' names stand in
            self.data = {"query": [normalise(name) for name in self.categories], "label": self.categories, "count": np.ones(len(self.categories))}
        self.kept = json.loads((folder / GOLDEN).read_text(encoding="utf-8"))
        self.golden = self.kept["queries"]
        self._logits: dict[str, np.ndarray] = {}  # what each variant's PyTorch model says of them
        self._transfer: tuple | None = None

    def teacher(self) -> variants.Variant:
        """The trained model as PyTorch runs it."""
        def run(_, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            with torch.inference_mode():
                return [part.numpy() for part in self.model(*(torch.from_numpy(given[name]) for name in ("input_ids", "attention_mask", "ngrams")))]

        served = EncoderClassifier(run, self.folder / "tokenizer.json", self.categories, self.max_tokens)
        return self._variant(variants.TEACHER, "PyTorch, FP32", served, [self.folder / "classifier.pt", self.folder / "tokenizer.json"], {})

    def make(self, wish: dict) -> variants.Variant:
        """One of the recipe's [[compress.variants]]."""
        torch.manual_seed(self.settings.seed)  # what it becomes does not depend on the variants before it
        numbers = graph.numbers(wish)
        place, facts = self.folder / BENCH / wish["name"], {}
        place.mkdir(parents=True, exist_ok=True)
        model = copy.deepcopy(self.model)
        model.encoder = students.build(model.encoder, wish, self.folder / "tokenizer.json", place, lambda: self.transfer()[0], self._worth)
        tokenizer = tokenizer_of(place)
        if "distil" in wish:
            facts = self.teach(model, tokenizer, wish)
        self._export(model, tokenizer, place / "model.onnx")
        graph.quantise(place / "model.onnx", numbers, lambda: self._feeds(tokenizer), wish.get("in_float", 0))
        served = EncoderClassifier(place / "model.onnx", place / "tokenizer.json", self.categories, self.max_tokens, self.settings.threads)
        self._logits[wish["name"]] = scores(model, tokenizer, self.golden, self.max_tokens)[0]
        facts["parity"] = metrics.parity(served.run(self.golden)[0], self._logits[wish["name"]])
        facts["peak_mb"] = variants.peak_mb("ecomrec.models.text_model:answer_once", str(place), str(self.max_tokens))
        return self._variant(wish["name"], students.describe(wish), served, [place / "model.onnx", place / "tokenizer.json"], facts)

    def teach(self, student: Classifier, tokenizer: PreTrainedTokenizerFast, wish: dict) -> dict:
        """`student` learns what the teacher says of the transfer texts."""
        texts, logits, vectors = self.transfer()
        tokens, grams = self._tokens(tokenizer, texts), [hashed(text) for text in texts]
        rules = {**self.rules["compress"]["distil"], **wish["distil"]}
        facts = distil.fit(student, lambda rows: student(*inputs([tokens[row] for row in rows], [grams[row] for row in rows])),
                           [len(row) for row in tokens], logits, vectors, rules, self.settings.seed, self.echo, wish["name"])
        return {"distilled_s": facts["seconds"], "distilled_loss": facts["loss"]}

    def _worth(self, number: int = 512) -> prune.Importance:
        """Importance of the teacher's parts for its own answers on training queries."""
        training = students.spread(read(self.dataset, "train")["query"], number)
        model = copy.deepcopy(self.model).requires_grad_(True)

        def loss(texts: list[str]) -> torch.Tensor:
            logits, _ = model(*inputs(self._tokens(self.tokenizer, texts), [hashed(text) for text in texts]))
            return torch.nn.functional.cross_entropy(logits, logits.detach().argmax(1), reduction="sum")

        return prune.importance(model.encoder, (training[first:first + 64] for first in range(0, len(training), 64)), loss)

    def transfer(self) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Texts without labels, and the teacher's logits and vectors for what they mean: of a misspelled one, for the right spelling; computed once."""
        if self._transfer is None:
            rules, source = self.rules["compress"], random.Random(self.settings.seed)
            number = round(rules["transfer"] * (1 - rules["misspelled"]))
            training = read(self.dataset, "train")["query"]
            silent = self.dataset / "unlabelled.parquet"
            asked = sorted({*training, *(pq.read_table(silent)["query"].to_pylist() if silent.is_file() else [])})
            asked = sorted(source.sample(asked, min(len(asked), round(ASKED * number))))
            habits = {**self.rules["augment"], **rules["augment"]}
            change, mistype = (augment.Augmenter({**habits, "typos": share}, source) for share in (0.0, 1.0))
            words = augment.whole_words((piece for piece, place in self.tokenizer.get_vocab().items() if place % 3 == 0), 3)  # the others judge what is unknown: see background
            texts = dict.fromkeys(asked)
            texts.update(dict.fromkeys(background(self.tokenizer, {"query": asked}, 500, 0, self.settings.seed)))
            own = [word for query in asked for word in query.split()]
            texts.update(dict.fromkeys(source.sample(words, min(len(words), number // 4))))
            most = max(number, len(texts))
            while own and len(texts) < most:  # a varied query; or words of the shop and of the language thrown together
                before, text = len(texts), source.choice(asked)
                if source.random() >= rules["varied"]:
                    text = " ".join(source.choice(words if words and source.random() < rules["foreign"] else own) for _ in range(source.choice((1, 2, 2, 3, 3, 4, 5))))
                texts[change(text)] = None
                most -= len(texts) == before  # a tiny shop has no more
            found = [text for text in texts if text]
            began = time.monotonic()
            answers = scores(self.model, self.tokenizer, found, self.max_tokens, kind=precision(self.rules["train"]))
            wrong = [source.randrange(len(found)) for _ in range(rules["transfer"] - number)] if found else []
            meant = [*range(len(found)), *wrong]
            self._transfer = ([*found, *(mistype(found[row]) for row in wrong)], *(part[meant] for part in answers))
            self.echo(f"compress: the teacher answered {len(found):,} texts in {time.monotonic() - began:.0f} s")
        return self._transfer

    def check_parity(self, exported: variants.Variant) -> None:
        """Raises AuditFailed when the FP32 export is not the PyTorch model."""
        logits, _ = EncoderClassifier(exported.files[0], exported.files[1], self.categories, self.max_tokens, self.settings.threads).run(self.data["query"])
        expected, _ = scores(self.model, self.tokenizer, self.data["query"], self.max_tokens)
        apart, same = float(np.abs(logits - expected).max()), float((logits.argmax(1) == expected.argmax(1)).mean())
        if apart > PARITY_LOGITS or same < PARITY_TOP1:
            raise AuditFailed(f"the ONNX export differs from the PyTorch model: logits by up to {apart:.2g} (limit {PARITY_LOGITS}), "
                              f"same top-1 {same:.4f} (limit {PARITY_TOP1})", "run the task again; if it stays, pin torch and onnxruntime as in requirements.txt")

    def keep(self, name: str) -> None:
        """Moves the variant's files to where they are sealed, with its golden answers: the PyTorch variant's own logits."""
        for file in ("model.onnx", "tokenizer.json"):
            (self.folder / BENCH / name / file).replace(self.folder / file)
        golden = {**self.kept, "logits": np.round(self._logits[name].astype(float), 4).tolist(), "variant": name}
        (self.folder / GOLDEN).write_text(json.dumps(golden), encoding="utf-8")

    def _variant(self, name: str, technique: str, served: EncoderClassifier, files: list[Path], facts: dict) -> variants.Variant:
        logits, _ = served.run(self.data["query"])
        right = np.array([self.categories[place] == label for place, label in zip(logits.argmax(1), self.data["label"], strict=True)], dtype=float)
        return variants.Variant(name, technique, files, right, served.predict, facts)

    def _tokens(self, tokenizer, texts: list[str]) -> list[list[int]]:
        return tokenizer(texts, truncation=True, max_length=self.max_tokens)["input_ids"]

    def _feeds(self, tokenizer, number: int = 512, size: int = 32) -> list[dict[str, np.ndarray]]:
        """Batches of training queries that calibrate static quantisation."""
        texts = students.spread(read(self.dataset, "train")["query"], number)
        return [{name: part.numpy() for name, part in zip(("input_ids", "attention_mask", "ngrams"), inputs(self._tokens(tokenizer, rows), [hashed(text) for text in rows]), strict=True)}
                for rows in (texts[first:first + size] for first in range(0, len(texts), size))]

    def _export(self, model: Classifier, tokenizer, path: Path) -> None:
        example = inputs(self._tokens(tokenizer, ["a b", ""]), [hashed("a b"), hashed("")])
        axes = {"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}, "ngrams": {0: "batch", 1: "grams"},
                "logits": {0: "batch"}, "vector": {0: "batch"}}
        if model.table is None:
            del axes["ngrams"]  # the graph drops an input that nothing reads
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's notes on constants; parity is checked
            graph.export(model, example, path, ["input_ids", "attention_mask", "ngrams"], ["logits", "vector"], axes)


def _calibrate(served: EncoderClassifier, tokenizer, dataset: Path, folder: Path, data: dict, rules: dict, seed: int) -> tuple[Calibration, dict]:
    """Temperature and detector, from validation queries as the served model scores them; writes `neighbours.npy`."""
    training, link = read(dataset, "train"), "sigmoid" if rules["train"]["loss"] == "bce" else "softmax"
    heavy = np.argsort(-training["weight"], kind="stable")[:NEIGHBOURS]
    _, neighbours = served.run([training["query"][row] for row in heavy])
    np.save(folder / "neighbours.npy", neighbours.astype(np.float16))
    logits, vectors = served.run(data["query"])
    column = {name: place for place, name in enumerate(served.categories)}
    known = np.array([label in column for label in data["label"]], dtype=bool)
    target = np.array([column.get(label, 0) for label in data["label"]])
    heat = calibration.temperature(logits[known], target[known], data["count"][known], link)
    foreign = served.run(background(tokenizer, training, len(data["query"]), 1, seed))
    chosen, least, found = calibration.detector((logits, vectors), foreign, neighbours, rules["compress"]["kept_inside"])
    return Calibration(heat, link, rules["compress"]["sure"], chosen, least if len(foreign[0]) else -np.inf), found
