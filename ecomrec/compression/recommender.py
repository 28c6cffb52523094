"""Compresses the recommender's user encoder and its item table: only the newest position is computed, blocks, heads and channels that matter
little are cut away, or users and items get fewer dimensions (`user_students`); what is left learns the whole encoder's vectors; INT8.

Where only the newest position is asked for, a one-block transformer needs keys and values of all positions, but queries, mixing
and feed-forward of one: the same answer for a fraction of the work. That is exact, so it is no variant but the export itself;
`positions = "all"` measures what it saves.
"""

import copy
import json
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ecomrec import artifact, metrics
from ecomrec.compression import graph, search, students, user_students, variants
from ecomrec.dataset import TEST, VALID
from ecomrec.dataset import load as load_dataset
from ecomrec.errors import AuditFailed, InputError
from ecomrec.heldout import K, before, held_out, popular, popularity_days
from ecomrec.models import Histories, itemitem, serving, standin, tables
from ecomrec.models.encoder import warm_linear
from ecomrec.models.sequential import UserEncoder, baskets, flatten, means, pad
from ecomrec.recommender import COUNTS, chosen_in, in_torch, prepare, recipe_for, restore
from ecomrec.settings import Settings

Echo = Callable[[str], None]
BENCH = ".variants"
SPANNED = 2000  # users whose vectors say which dimensions a narrow student needs
NUMBERS = ("half_life", "repeat", "scale", "share", "blend", "readiness", "trend", "by_event")


def compress(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Makes the recipe's variants of the user encoder, measures them as they would serve, seals `folder` with the chosen one.

    Returns what the manifest keeps as `compression`: the variant served, every variant's row (`ecomrec.compression.variants`), the agreement
    of the plain export with PyTorch, the index of a large catalogue (`ecomrec.compression.search`), seconds. Raises AuditFailed when ONNX FP32 does not recommend what PyTorch recommends.
    """
    started = time.monotonic()
    desk = Desk(settings, dataset, folder, echo)
    shutil.rmtree(folder / BENCH, ignore_errors=True)
    limits = desk.rules["compress"]
    made, skipped = [desk.teacher(), desk.make(limits["variants"][0])], {}
    agreement = desk.agreement(made[1].facts["ranked"])
    if agreement < limits["agreement"]:
        raise AuditFailed(f"the exported recommender gives {agreement:.1%} of the users the same top {K} as PyTorch, less than {limits['agreement']:.0%}",
                          "this is a fault of the export: keep what is in service and report it")
    for wish in limits["variants"][1:]:
        if found := variants.attempt(wish["name"], lambda: desk.make(wish), skipped, echo):  # noqa: B023 - called within this turn only
            made.append(found)
    rows = variants.measure(made, list(range(len(desk.held["users"]))), np.ones(len(desk.held["users"])), settings.seed, echo)
    served = variants.choose(rows, limits)
    for file in next(variant.files for variant in made if variant.name == served):
        file.replace(folder / file.name)
    shutil.rmtree(folder / BENCH)
    config = {**desk.config, "encoder": "encoder.onnx"}
    model = serving.sequential(folder, config, settings.threads)
    found = search.fit(model, desk.held["histories"], desk.held["day"], settings.seed, limits["recall"], folder, echo) if len(model.item_ids) > settings.exact_items else {}
    (folder / "config.json").write_text(json.dumps({**config, "probes": found.get("probes", 0), "depth": found.get("depth", 0)}, indent=1, sort_keys=True), encoding="utf-8")
    fitted = standin.fit(replace(model, **desk.parts), desk.everyone(), settings.seed)
    fitted.save(folder)
    echo(f"compress: the stand-in that explains lists gives {fitted.r2:.1%} of the encoder's variance")
    result = {"served": served, "standin_r2": round(fitted.r2, 4), "variants": variants.table(rows, skipped), "agreement": round(agreement, 5), **({"search": found} if found else {}), "seconds": round(time.monotonic() - started, 1)}
    artifact.write_manifest(folder, kind="sequential", day=desk.data.meta["day"], popularity_days=popularity_days(desk.data, desk.rules["popularity"]["days"]), items=len(desk.data.item_ids), encoder=desk.text, compression=result,
                            onnx=graph.facts(folder / "encoder.onnx"))
    why = next(row["why"] for row in rows if row["chosen"])
    echo(f"compress: {served} serves: {why}")
    return result


class Desk:
    """The trained model, the validation users, and the folder where variants are made."""

    def __init__(self, settings: Settings, dataset: Path, folder: Path, echo: Echo):
        self.settings, self.folder, self.echo, self.data = settings, folder, echo, load_dataset(dataset)
        self.rules = recipe_for(self.data)
        prepare(settings)
        self.own, chosen = self.rules["sequential"], chosen_in(settings, folder)
        self.text = chosen["encoder"]  # what made item_vectors.npy
        self.model = restore(folder, self.data, self.own, chosen["repeats"])
        sold = popular(self.data, TEST, self.rules["popularity"]["days"])
        self.held = held_out(self.data, VALID, settings.seed, self.own["max_valid_users"])
        # The variants are compared with the item-item part and the popularity that have not seen the validation purchases.
        self.parts = {"linear": itemitem.load(folder / "training" / "linear"), "popularity": popular(self.data, VALID, self.rules["popularity"]["days"]), "blend": chosen["blend"], "readiness": chosen["readiness"], "trend": chosen["trend"]}
        self.original = replace(in_torch(self.model, self.data, sold, self.own, chosen["half_life"], chosen["repeat"], chosen["scale"], chosen["share"]), **self.parts)
        self.config = {"max_baskets": self.own["max_baskets"], **{name: chosen[name] for name in NUMBERS}}
        self.columns = {"item_ids": self.data.item_ids, "bias": self.original.bias, "again": self.original.again, "popularity": sold}
        tables.save(folder / tables.FILE, self.original.table, self.columns)
        self._expected: np.ndarray | None = None

    def teacher(self) -> variants.Variant:
        """The trained encoder in PyTorch, all positions, as it was trained."""
        def encode(vectors: np.ndarray, days: np.ndarray, last: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return self.model.encoder(torch.from_numpy(vectors), torch.from_numpy(days)).numpy()[np.arange(len(last)), last]

        found = self._variant(variants.TEACHER, "PyTorch, FP32, all positions", replace(self.original, encode=encode), encode,
                              [self.folder / "training" / "weights.safetensors"])
        self._expected = found.facts["ranked"]
        return found

    def make(self, wish: dict) -> variants.Variant:
        """One of the recipe's [[compress.variants]]."""
        torch.manual_seed(self.settings.seed)  # what it becomes does not depend on the variants before it
        numbers, items = graph.numbers(wish), wish.get("items", "")
        if items not in ("", "int8"):
            raise InputError(f'items = "{items}"', 'write "int8", or leave `items` out of the variant: then they are FP32')
        place, encoder, table, narrow, facts, columns = self.folder / BENCH / wish["name"], copy.deepcopy(self.model.encoder), self.original.table, None, {}, self.columns
        place.mkdir(parents=True, exist_ok=True)
        worth = self._worth() if {"heads", "channels"} & set(wish) else []
        if "blocks" in wish:
            encoder, kept = user_students.fewer(encoder, wish["blocks"], self.grids(self.held["histories"], 256))
            worth = [worth[block] for block in kept] if worth else []
        if worth:
            encoder = user_students.shrink(encoder, worth, wish.get("heads", 0), wish.get("channels", 0))
        if "dim" in wish:
            narrow = self._space(wish["dim"] if wish["dim"] >= 1 else round(wish["dim"] * self.own["dim"]))
            columns = {**columns, "bias": columns["bias"] + table @ narrow.centre}
            encoder, table, facts["scores_kept"] = user_students.narrow(encoder, len(narrow.worth)), table @ narrow.items, round(narrow.kept, 4)
        listed = self.folder / tables.FILE
        if narrow or items:
            listed = place / tables.FILE
            table = tables.save(listed, table, columns, bool(items))
        if "distil" in wish or narrow:
            facts |= self._teach(encoder, table, narrow, {**self.rules["compress"]["distil"], **wish.get("distil", {})}, wish["name"])
        path, everywhere = place / "encoder.onnx", wish.get("positions") == "all"
        example = (torch.zeros(2, 3, table.shape[1]), torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, dtype=torch.int64))
        axes = {"vectors": {0: "users", 1: "baskets"}, "days": {0: "users", 1: "baskets"}, "last": {0: "users"}, "states": {0: "users", **({1: "baskets"} if everywhere else {})}}
        if everywhere:
            example, _ = example[:2], axes.pop("last")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph.export(encoder, example, path, ["vectors", "days", "last"][:len(example)], ["states"], axes)
        graph.quantise(path, numbers, lambda: self._feeds(table))
        own = {**self.config, "encoder": str(path.relative_to(self.folder)), "tables": str(listed.relative_to(self.folder))}
        facts["peak_mb"] = variants.peak_mb("ecomrec.models.serving:rank_once", str(self.folder), json.dumps(own))
        served = replace(serving.sequential(self.folder, own, self.settings.threads), **self.parts)
        technique = students.describe(wish) + (", all positions" if everywhere else ", newest position only")
        return self._variant(wish["name"], technique, served, serving.onnx_encoder(path, self.settings.threads), [path, listed], facts)

    def agreement(self, ranked: np.ndarray) -> float:
        """Share of the users for whom `ranked` holds PyTorch's first K items."""
        return float((self._expected[:, :, None] == ranked[:, None, :]).any(axis=2).all(axis=1).mean()) if len(ranked) else 1.0

    def _variant(self, name: str, technique: str, model: serving.Sequential, encode: Callable, files: list[Path], facts: dict | None = None) -> variants.Variant:
        """Quality as the whole model ranks with this encoder; time of the encoder with what it needs from the user's history. The facts keep the
        lists, the model and the encoder itself, for whoever asks more."""
        given, held = self.held["histories"], self.held
        ranked, _ = model.recommend(given, held["day"], K, held["exclude"])
        values = metrics.per_user(ranked, held["offsets"], held["items"], K)[f"NDCG@{K}"]
        alone = replace(model, encode=encode)
        return variants.Variant(name, technique, files, values, lambda rows: alone.vectors(given.users(rows[0], rows[-1] + 1)), {**(facts or {}), "ranked": ranked, "model": model, "encode": encode})

    def grids(self, given: Histories, users: int, table: np.ndarray | None = None, size: int = 64) -> list[user_students.Grid]:
        """What the encoder reads of the first `users` histories, batch by batch; `table`: the items' vectors, if not the trained ones."""
        table, history = self.original.table if table is None else table, given.users(0, min(users, len(given)))
        given = baskets(history.offsets, history.items, history.days, history.weights, self.own["max_baskets"], self.data.by_user)
        counts, found = np.diff(given.users), []
        order = np.argsort(counts, kind="stable")
        order = order[counts[order] > 0]
        for first in range(0, len(order), size):
            rows = order[first:first + size]
            basket, row, column, days = pad(given, rows)
            flat, starts, _ = flatten(given, basket)
            vectors, real = np.zeros((*days.shape, table.shape[1]), dtype=np.float32), np.zeros(days.shape, dtype=bool)
            vectors[row, column] = means(table, flat, starts)
            real[row, column] = True
            found.append((torch.from_numpy(vectors), torch.from_numpy(days), torch.from_numpy(real)))
        return found

    def past(self, users: int) -> Histories:
        """What `users` of the users, drawn by the seed, did on training days."""
        known = np.unique(self.data.user[self.data.user < self.data.meta["users"]])
        drawn = np.random.default_rng(self.settings.seed).permutation(known)[:users]
        return before(self.data, VALID, np.sort(drawn))

    def everyone(self) -> Histories:
        """What all users did before the test part."""
        return before(self.data, TEST, np.unique(self.data.user[self.data.user < self.data.meta["users"]]))

    def _feeds(self, table: np.ndarray) -> list[dict[str, np.ndarray]]:
        return [{"vectors": vectors.numpy(), "days": days.numpy(), "last": real.sum(dim=1).numpy() - 1}
                for vectors, days, real in self.grids(self.held["histories"], 1024, table, max(1, min(64, len(self.held["users"]) // 8)))]

    def _space(self, dim: int) -> user_students.Space:
        """The `dim` dimensions that keep the trained scores best."""
        with torch.inference_mode():
            states = [self.model.encoder(vectors, days)[real].numpy() for vectors, days, real in self.grids(self.past(SPANNED), SPANNED)]
        if not states:
            raise InputError("no user has a history that says what the scores are made of", "load more days, or leave `dim` out of the variant")
        return user_students.space(self.original.table, np.concatenate(states), np.load(self.folder / COUNTS) + 1.0, dim)

    def _worth(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Per block the importance of its heads [H] and channels [F] for the scores of all items."""
        encoder, table, seen = copy.deepcopy(self.model.encoder).requires_grad_(True), torch.from_numpy(self.original.table), {}

        def keep(key):
            def hook(_, given):
                given[0].retain_grad()
                seen.setdefault(key, []).append(given[0])
            return hook

        for place, block in enumerate(encoder.blocks):
            block.out.register_forward_pre_hook(keep((place, "heads")))
            block.mlp[2].register_forward_pre_hook(keep((place, "channels")))
        for vectors, days, real in self.grids(self.held["histories"], 256):
            states = encoder(vectors.requires_grad_(), days)[real][:256]
            logits = states @ table.T
            nn.functional.cross_entropy(logits, logits.detach().argmax(dim=1), reduction="sum").backward()
        if not seen:
            raise InputError("no validation user has a history to measure importance on", "load more days, or ask for variants that are not pruned")
        sums = {key: sum((part * part.grad).abs().sum(dim=(0, 1)) for part in parts) for key, parts in seen.items()}
        return [(sums[place, "heads"].view(block.heads, -1).sum(dim=1), sums[place, "channels"]) for place, block in enumerate(encoder.blocks)]

    def _teach(self, student: UserEncoder, table: np.ndarray, narrow: user_students.Space | None, rules: dict, name: str) -> dict:
        """`student`, which reads the items of `table`, learns the vectors of the whole encoder at every position of training days, in the
        dimensions of `narrow`: squared error over their variance."""
        past = self.past(rules["users"])
        with torch.inference_mode():
            wanted = [self.model.encoder(vectors, days)[real] for vectors, days, real in self.grids(past, len(past))]
            wanted = [(states - torch.from_numpy(narrow.centre)) @ torch.from_numpy(narrow.users) for states in wanted] if narrow else [states.clone() for states in wanted]
        if not wanted:
            raise InputError("no user has a history to learn from", "load more days, or ask for variants that are not distilled")
        given = self.grids(past, len(past), table)
        worth = torch.from_numpy(narrow.worth) if narrow else torch.ones(wanted[0].shape[1])
        worth = worth / (torch.cat(wanted).var(dim=0) * worth).mean().clamp(min=1e-12)
        optimizer, random, losses = torch.optim.AdamW(student.parameters(), lr=rules["learning_rate"]), np.random.default_rng(self.settings.seed), []
        schedule, began = warm_linear(optimizer, rules["epochs"] * len(given), 0.05), time.monotonic()
        student.eval()  # it learns without dropout
        for _ in range(rules["epochs"]):
            for place in random.permutation(len(given)):
                vectors, days, real = given[place]
                loss = ((student(vectors, days)[real] - wanted[place].clone()).square() * worth).mean()
                if not torch.isfinite(loss):
                    raise AuditFailed(f"{name}: the loss is {loss.item()}", "lower its learning_rate in the recipe")
                loss.backward()
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
                losses.append(loss.item())
        first, last = np.mean(losses[:len(given)]), np.mean(losses[-len(given):])
        if rules["epochs"] > 1 and last >= first:
            raise AuditFailed(f"{name} never learned: its loss went from {first:.3f} to {last:.3f}", "raise epochs or learning_rate in the recipe")
        self.echo(f"compress: {name}: distilled in {time.monotonic() - began:.0f} s, loss {first:.3f} to {last:.3f}")
        return {"distilled_s": round(time.monotonic() - began, 1), "distilled_loss": [round(float(first), 4), round(float(last), 4)]}
