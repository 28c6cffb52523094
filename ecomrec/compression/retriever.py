"""Compresses the retriever: INT8 of the encoder that embeds products, and a student that reads queries in its place.

Products are embedded when they change; queries are read all day. So the products keep the large encoder's vectors, and a student
learns to place queries where it would (asymmetric retrieval: one space, two encoders).
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
from torch import nn
from transformers import AutoConfig, AutoModel

from ecomrec import artifact
from ecomrec.compression import distil, graph, prune, students, variants
from ecomrec.errors import AuditFailed
from ecomrec.models.encoder import load_encoder, precision, tokenizer_of
from ecomrec.models.text_model import TextModel
from ecomrec.models.tokens import pad
from ecomrec.queries import misspell
from ecomrec.retriever import K, Pooled, drawn, held_queries, made_up, ndcg, pairs_of
from ecomrec.search import hybrid
from ecomrec.search.lexical import Lexical
from ecomrec.search.pairs import products, recipe
from ecomrec.settings import Settings
from ecomrec.text import padded, vectors_of

Echo = Callable[[str], None]
PARITY = 0.9999  # least mean cosine of ONNX FP32 and PyTorch vectors
BENCH = ".variants"
TRAINED = ("encoder.pt",)  # what training wrote and is not sealed


def compress(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Chooses what embeds the products and what reads the queries, and the fusion weight on validation searches; seals `folder`.

    Also writes the sealed baselines `bm25` and `zero_shot`. Returns what the manifest keeps as `compression`: the variant that reads queries,
    every variant's row (`ecomrec.compression.variants`), what embeds products, the fusion weight and its curve, seconds. Raises AuditFailed when
    FP32 ONNX is not the PyTorch model.
    """
    rules, started = recipe(), time.monotonic()
    if not artifact.restore(folder, TRAINED):
        return artifact.read_manifest(folder)["compression"]
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    shutil.rmtree(folder / BENCH, ignore_errors=True)
    day = json.loads((dataset / "meta.json").read_text(encoding="utf-8"))["day"]
    desk = Desk(settings, dataset, folder, rules, echo)
    embeds, figures = desk.embedder()
    made, skipped = [desk.teacher(), desk.make(rules["compress"]["variants"][0])], {}
    for wish in rules["compress"]["variants"][1:]:
        if found := variants.attempt(wish["name"], lambda: desk.make(wish), skipped, echo):  # noqa: B023 - called within this turn only
            made.append(found)
    rows = variants.measure(made, desk.held["queries"], desk.held["count"], settings.seed, echo)
    served = variants.choose(rows, rules["compress"])
    for name, target in (("model.onnx", "reader.onnx"), ("tokenizer.json", "reader.tokenizer.json")):
        (folder / BENCH / served / name).replace(folder / target)
    (folder / BENCH / embeds / "model.onnx").replace(folder / "model.onnx")
    fusion = {"model": "model.onnx", "reader": "reader.onnx", "max_tokens": rules["text"]["max_tokens"], "depth": rules["fusion"]["depth"],
              "reranker": rules["fusion"]["reranker"]}
    weight, curve = desk.tune(TextModel(folder / "reader.onnx", folder / "reader.tokenizer.json", rules["text"]["max_tokens"], settings.threads))
    (folder / "config.json").write_text(json.dumps({**fusion, "weight": weight}, indent=1, sort_keys=True), encoding="utf-8")
    result = {"served": served, "variants": variants.table(rows, skipped), "embeds": embeds, "embedders": figures, "fusion_weight": weight,
              "valid_ndcg10": curve, "seconds": round(time.monotonic() - started, 1)}
    shutil.rmtree(folder / BENCH)
    artifact.hide(folder, TRAINED)
    artifact.write_manifest(folder, hybrid.KIND, day=day, products=len(desk.shop.item_ids), compression=result,
                            onnx={name: graph.facts(folder / f"{name}.onnx") for name in ("model", "reader")})
    baselines(folder, rules, settings, day)  # after the seal: they are models of their own
    artifact.forget(folder, TRAINED)
    why = next(row["why"] for row in rows if row["chosen"])
    echo(f"compress: {served} reads queries: {why}; {embeds} embeds products, mean cosine with PyTorch {figures[embeds]['cosine']:.4f}; "
         f"fusion weight {weight:.2f}" + (f", validation NDCG@{K} {curve[str(weight)]:.4f}" if curve else " (no validation searches: the recipe's)"))
    return result


class Desk:
    """The trained encoder, the validation queries (made-up ones where nobody searched), and the folder where variants are made."""

    def __init__(self, settings: Settings, dataset: Path, folder: Path, rules: dict, echo: Echo):
        self.settings, self.dataset, self.folder, self.rules, self.echo = settings, dataset, folder, rules, echo
        self.shop, self.most, self.tokenizer = products(pq.read_table(dataset / "items.parquet")), rules["text"]["max_tokens"], tokenizer_of(folder)
        encoder = AutoModel.from_config(AutoConfig.from_pretrained(folder / "encoder.json"), attn_implementation="eager")
        encoder.pooler = None
        encoder.load_state_dict(torch.load(folder / "encoder.pt", weights_only=True))
        self.encoder, own = encoder.eval(), rules["evaluate"]
        self.searched = held_queries(dataset, self.shop, "valid", own["valid_queries"], own["products"], settings.seed)
        self.held = self.searched if self.searched["queries"] else self._made_up(own["valid_queries"], own["products"])
        self.lexical = Lexical(self.held["texts"])
        self._transfer: tuple | None = None
        self._products: np.ndarray | None = None

    def embedder(self) -> tuple[str, dict]:
        """What embeds the products: INT8 where it agrees with PyTorch. Its name, and figures of both."""
        sample = students.spread(self.shop.texts, 200)
        expected, figures = vectors_of(self.encoder, self.tokenizer, sample, self.most), {}
        for name, kind in (("fp32", ""), ("int8", "dynamic")):
            place = self.folder / BENCH / f"products.{name}"
            place.mkdir(parents=True, exist_ok=True)
            self._export(self.encoder, self.tokenizer, place / "model.onnx")
            graph.quantise(place / "model.onnx", kind, list)
            model, began = TextModel(place / "model.onnx", self.folder / "tokenizer.json", self.most, self.settings.threads), time.monotonic()
            found = model.run(sample)[0]
            figures[f"products.{name}"] = {"cosine": round(float((found * expected).sum(1).mean()), 6), "megabytes": round((place / "model.onnx").stat().st_size / 1e6, 1),
                                           "products_per_s": round(len(sample) / (time.monotonic() - began), 1)}
        if figures["products.fp32"]["cosine"] < PARITY:
            raise AuditFailed(f"the exported retriever's vectors have a mean cosine of {figures['products.fp32']['cosine']:.5f} with PyTorch's, less than {PARITY}",
                              "this is a fault of the export: keep what is in service and report it")
        kept = "products.int8" if figures["products.int8"]["cosine"] >= self.rules["compress"]["agreement"] else "products.fp32"
        self._products = TextModel(self.folder / BENCH / kept / "model.onnx", self.folder / "tokenizer.json", self.most, self.settings.threads).run(self.held["texts"])[0]
        return kept, figures

    def teacher(self) -> variants.Variant:
        """The trained encoder as PyTorch runs it."""
        model = Pooled(self.encoder)

        def run(_, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            with torch.inference_mode():
                return [model(torch.from_numpy(given["input_ids"]), torch.from_numpy(given["attention_mask"])).numpy()]

        files = [self.folder / "encoder.pt", self.folder / "tokenizer.json"]
        return self._variant(variants.TEACHER, "PyTorch, FP32", TextModel(run, self.folder / "tokenizer.json", self.most), files, {})

    def make(self, wish: dict) -> variants.Variant:
        """One of the recipe's [[compress.variants]]."""
        torch.manual_seed(self.settings.seed)  # what it becomes does not depend on the variants before it
        numbers = graph.numbers(wish)
        place, facts = self.folder / BENCH / wish["name"], {}
        place.mkdir(parents=True, exist_ok=True)
        student = students.build(self.encoder, wish, self.folder / "tokenizer.json", place, lambda: self.transfer()[0], self._worth)
        tokenizer = tokenizer_of(place)
        if "distil" in wish:
            texts, vectors = self.transfer()
            tokens, model = self._tokens(tokenizer, texts), Pooled(student)
            told = distil.fit(model, lambda rows: (None, model(*padded([tokens[row] for row in rows]))), [len(row) for row in tokens], None, vectors,
                              {**self.rules["compress"]["distil"], **wish["distil"]}, self.settings.seed, self.echo, wish["name"])
            facts = {"distilled_s": told["seconds"], "distilled_loss": told["loss"]}
        self._export(student, tokenizer, place / "model.onnx")
        graph.quantise(place / "model.onnx", numbers, lambda: self._feeds(tokenizer), wish.get("in_float", 0))
        facts["peak_mb"] = variants.peak_mb("ecomrec.models.text_model:answer_once", str(place), str(self.most))
        return self._variant(wish["name"], students.describe(wish), TextModel(place / "model.onnx", place / "tokenizer.json", self.most, self.settings.threads),
                             [place / "model.onnx", place / "tokenizer.json"], facts)

    def transfer(self) -> tuple[list[str], np.ndarray]:
        """Queries of the training days, queries made from product texts and titles, with typing errors in some, and the teacher's vectors for
        them; computed once."""
        if self._transfer is None:
            rules, source, began = self.rules["compress"], random.Random(self.settings.seed), time.monotonic()
            wanted = {**self.rules, "train": {**self.rules["train"], "pairs": rules["transfer"]}}
            found = [query for query, _, _ in pairs_of(self.dataset, self.shop, wanted, self.encoder, self.tokenizer, self.settings.seed)[0]]
            found += source.sample(self.shop.titles, min(len(self.shop.titles), rules["transfer"] // 4))
            texts = sorted({misspell(text.lower(), source) if source.random() < rules["typos"] else text.lower() for text in found if text} - set(self.held["queries"]))
            self._transfer = texts, vectors_of(self.encoder, self.tokenizer, texts, self.most, precision(self.rules["train"]))
            self.echo(f"compress: the teacher placed {len(texts):,} texts in {time.monotonic() - began:.0f} s")
        return self._transfer

    def tune(self, reader: TextModel) -> tuple[float, dict[str, float]]:
        """The fusion weight with the best NDCG@10 on validation searches, and the whole grid; the recipe's without any."""
        if not self.searched["queries"]:
            return self.rules["fusion"]["weight"], {}
        curve = {str(weight): round(float(np.average(self._quality(reader, weight), weights=self.held["count"])), 5) for weight in self.rules["fusion"]["grid"]}
        usual = self.rules["fusion"]["weight"]
        return float(max(curve, key=lambda weight: (curve[weight], -abs(float(weight) - usual)))), curve  # where nothing tells them apart, the nearest to the recipe's

    def _quality(self, reader: TextModel, weight: float) -> np.ndarray:
        """NDCG@10 of each validation query, fused with BM25."""
        model = hybrid.Retriever(reader, weight, self.rules["fusion"]["depth"])
        return ndcg(model.search(self.held["queries"], self._products, self.lexical, self.held["texts"], K)[0], self.held)

    def _variant(self, name: str, technique: str, reader: TextModel, files: list[Path], facts: dict) -> variants.Variant:
        return variants.Variant(name, technique, files, self._quality(reader, self.rules["fusion"]["weight"]), reader.run, facts)

    def _made_up(self, most: int, size: int) -> dict:
        """Validation where nobody searched: queries made from the texts of some products, each with one right answer."""
        wanted = {**self.rules, "train": {**self.rules["train"], "pairs": most}, "synthetic": {**self.rules["synthetic"], "share": 1.0}}
        rows = drawn(self.shop, size, self.settings.seed + 1)
        made, place = pairs_of(self.dataset, self.shop, wanted, self.encoder, self.tokenizer, self.settings.seed + 1)[0], {row: number for number, row in enumerate(rows)}
        return made_up(self.shop, rows, [(query, place[row]) for query, row, _ in made if row in place])

    def _worth(self, number: int = 512, size: int = 64) -> prune.Importance:
        """Importance of the teacher's parts for telling its texts apart: each of a batch from the others (InfoNCE)."""
        texts, model = students.spread(self.transfer()[0], number), Pooled(copy.deepcopy(self.encoder).requires_grad_(True))

        def loss(rows: list[str]) -> torch.Tensor:
            vectors = model(*padded(self._tokens(self.tokenizer, rows)))
            return nn.functional.cross_entropy(vectors @ vectors.detach().T / self.rules["train"]["temperature"], torch.arange(len(rows)), reduction="sum")

        return prune.importance(model.encoder, (texts[first:first + size] for first in range(0, len(texts), size)), loss)

    def _tokens(self, tokenizer, texts: list[str]) -> list[list[int]]:
        return tokenizer(texts, truncation=True, max_length=self.most)["input_ids"]

    def _feeds(self, tokenizer, number: int = 512, size: int = 32) -> list[dict[str, np.ndarray]]:
        texts = students.spread(self.transfer()[0], number)
        return [dict(zip(("input_ids", "attention_mask"), pad(self._tokens(tokenizer, texts[first:first + size])), strict=True)) for first in range(0, len(texts), size)]

    def _export(self, encoder: nn.Module, tokenizer, path: Path) -> None:
        axes = {"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}, "vector": {0: "batch"}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph.export(Pooled(encoder), padded(self._tokens(tokenizer, ["a b", ""])), path, ["input_ids", "attention_mask"], ["vector"], axes)


def baselines(folder: Path, rules: dict, settings: Settings, day: str) -> None:
    """Seals BM25 alone and the pretrained encoder alone."""
    fusion = {"max_tokens": rules["text"]["max_tokens"], "depth": rules["fusion"]["depth"], "reranker": ""}
    shutil.rmtree(folder / "baselines", ignore_errors=True)
    bm25, zero = folder / "baselines" / "bm25", folder / "baselines" / "zero_shot"
    for place in (bm25, zero):
        place.mkdir(parents=True, exist_ok=True)
    (bm25 / "config.json").write_text(json.dumps({**fusion, "model": "", "weight": 0.0}), encoding="utf-8")
    tokenizer, encoder = load_encoder(settings.encoder)
    tokenizer.backend_tokenizer.save(str(zero / "tokenizer.json"))
    axes = {"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}, "vector": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph.export(Pooled(encoder), padded(tokenizer(["a b", ""])["input_ids"]), zero / "model.onnx", ["input_ids", "attention_mask"], ["vector"], axes)
    graph.quantise(zero / "model.onnx", "dynamic", list)
    (zero / "config.json").write_text(json.dumps({**fusion, "model": "model.onnx", "weight": 1.0}), encoding="utf-8")
    for place in (bm25, zero):
        artifact.write_manifest(place, hybrid.KIND, day=day, baseline=place.name)
