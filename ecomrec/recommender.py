"""The recommender family: trains, compresses and evaluates the sequential model beside its baselines.

Every choice (epochs, half-life, weight of the repeat component, the baselines' hyper-parameters) is made on validation days
with histories that end before them. Test days are read by `evaluate` alone.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from ecomrec import artifact, metrics
from ecomrec import compress as onnx
from ecomrec.baselines import fit_baselines, repeat_alone
from ecomrec.dataset import Dataset, recipe
from ecomrec.dataset import load as load_dataset
from ecomrec.errors import AuditFailed
from ecomrec.heldout import K, before, held_out, ndcg, quality
from ecomrec.models import decayed_counts, popularity, rank, serving, top
from ecomrec.models.sequential import Baskets, Sequential, baskets, fit_epoch
from ecomrec.settings import Settings
from ecomrec.text import encode as encode_texts

Echo = Callable[[str], None]
WEIGHTS, TEXT, TRAINING = "training/weights.safetensors", "training/text.npy", "training/training.json"


def train(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Fits the sequential model on the training days. Writes weights, text vectors and training.json under `folder`/training.

    Returns validation NDCG@10 by epoch and after tuning, the chosen half-life and weight, and seconds.
    """
    started, rules, data = time.monotonic(), recipe(), load_dataset(dataset)
    _prepare(settings)
    own = rules["sequential"]
    text = encode_texts(data.texts, settings.encoder, rules["text"]["max_length"])
    encoded = time.monotonic() - started
    echo(f"{len(set(data.texts)):,} distinct item texts encoded in {encoded:.1f} s")
    random = np.random.default_rng(settings.seed)
    given, ends, counts = _training(data, own, random)
    held = held_out(data, data.valid_from, data.test_from, settings.seed, own["max_valid_users"])
    sold = popularity.count(data.item, data.day, data.weight, data.valid_from, rules["popularity"]["days"], len(data.item_ids))
    half_life, alone = repeat_alone(held, sold, rules["repeat"]["half_lives"])
    echo(f"repeat buying alone: validation NDCG@{K} {alone:.4f} at a half-life of {half_life:g} days")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    share = torch.from_numpy((counts + 1) / (counts + 1).sum()).float()
    model = Sequential(torch.from_numpy(text), share, own).to(device)
    sampling = counts.astype(np.float64) + 1
    sampling = sampling ** own["power"] / (sampling ** own["power"]).sum()
    optimizer = torch.optim.AdamW(model.groups(own))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 - epoch / own["epochs"])
    best, kept, curve = -1.0, None, []
    for epoch in range(own["epochs"]):
        loss = fit_epoch(model, given, ends, own, half_life, sampling, optimizer, random)
        value = quality(_in_torch(model, data, sold, own, half_life, *model.habit()), held)
        curve.append(round(value, 5))
        echo(f"epoch {epoch + 1}: loss {loss:.4f}, repeat w {model.habit()[0]:.2f} s {model.habit()[1]:.1f} a {model.habit()[2]:.2f}, validation NDCG@{K} {value:.4f} "
             f"({time.monotonic() - started:.0f} s, {time.process_time():.0f} s of CPU)")
        if value > best:
            best, kept, at = value, {name: part.detach().cpu().clone() for name, part in model.state_dict().items()}, epoch
        elif epoch - at >= own["patience"]:
            break
        schedule.step()
    model.load_state_dict(kept)
    tuned = _tune_repeat(_in_torch(model, data, sold, own, half_life, *model.habit()), held, rules["repeat"])
    result = {**tuned, "epochs": at + 1, "curve": curve, "valid_repeat_alone": round(alone, 5), "valid_users": len(held["users"]),
              "text_s": round(encoded, 1), "seconds": round(time.monotonic() - started, 1)}
    echo(f"chosen on validation: half-life {tuned['half_life']:g} days, weight {tuned['repeat']:.3f}, NDCG@{K} {tuned['valid_ndcg10']:.4f}")
    (folder / "training").mkdir(parents=True, exist_ok=True)
    save_file({name: part.contiguous() for name, part in kept.items() if name != "text"}, folder / WEIGHTS)
    np.save(folder / TEXT, text)
    (folder / TRAINING).write_text(json.dumps(result, indent=1, sort_keys=True), encoding="utf-8")
    return result


def compress(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Exports the user encoder to ONNX, makes its INT8 variant, checks parity, keeps what is as good, seals `folder`.

    Raises AuditFailed when ONNX FP32 does not recommend what PyTorch recommends.
    """
    started, rules, data = time.monotonic(), recipe(), load_dataset(dataset)
    _prepare(settings)
    own, chosen = rules["sequential"], json.loads((folder / TRAINING).read_text(encoding="utf-8"))
    model, sold = _restore(folder, own), popularity.count(data.item, data.day, data.weight, data.test_from, rules["popularity"]["days"], len(data.item_ids))
    held = held_out(data, data.valid_from, data.test_from, settings.seed, own["max_valid_users"])
    original = _in_torch(model, data, sold, own, chosen["half_life"], chosen["repeat"], chosen["scale"], chosen["share"])
    np.savez(folder / "tables.npz", item_ids=data.item_ids, table=original.table, bias=original.bias, again=original.again, popularity=sold)
    np.save(folder / "item_vectors.npy", np.load(folder / TEXT).astype(np.float16))
    example = (torch.zeros(2, 3, own["dim"]), torch.zeros(2, 3, dtype=torch.int64))
    axes = {"vectors": {0: "users", 1: "baskets"}, "days": {0: "users", 1: "baskets"}, "states": {0: "users", 1: "baskets"}}
    onnx.export(model.encoder, example, folder / "encoder.fp32.onnx", ["vectors", "days"], ["states"], axes)
    onnx.int8(folder / "encoder.fp32.onnx", folder / "encoder.int8.onnx")
    config = {"max_baskets": own["max_baskets"], "half_life": chosen["half_life"], "repeat": chosen["repeat"], "scale": chosen["scale"], "share": chosen["share"]}
    expected, _ = original.recommend(held["histories"], held["day"], K)
    figures = {"torch": {"valid_ndcg10": ndcg(expected, held)}}
    for variant in ("fp32", "int8"):
        file = f"encoder.{variant}.onnx"
        served = serving.sequential(folder, {**config, "encoder": file}, settings.threads)
        begun = time.monotonic()
        ranked, _ = served.recommend(held["histories"], held["day"], K)
        figures[variant] = {"valid_ndcg10": ndcg(ranked, held), "agreement": round(_agreement(expected, ranked), 5),
                            "users_per_s": round(len(ranked) / (time.monotonic() - begun), 1), "kb": round((folder / file).stat().st_size / 1024, 1)}
    limits = rules["compress"]
    if figures["fp32"]["agreement"] < limits["agreement"]:
        raise AuditFailed(f"the exported recommender agrees with PyTorch on {figures['fp32']['agreement']:.1%} of the top {K}, "
                          f"less than {limits['agreement']:.0%}", "this is a fault of the export: keep what is in service and report it")
    kept = figures["int8"]["valid_ndcg10"] >= limits["quality_kept"] * figures["fp32"]["valid_ndcg10"]
    served = "int8" if kept else "fp32"
    (folder / f"encoder.{'fp32' if kept else 'int8'}.onnx").unlink()
    config["encoder"] = f"encoder.{served}.onnx"
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
    result = {"served": served, **figures, "seconds": round(time.monotonic() - started, 1)}
    artifact.write_manifest(folder, kind="sequential", day=data.meta["day"], items=len(data.item_ids), compression=result)
    echo(f"{served.upper()} is served: validation NDCG@{K} {figures[served]['valid_ndcg10']:.4f}, PyTorch {figures['torch']['valid_ndcg10']:.4f}"
         + ("" if kept else f"; INT8 ({figures['int8']['valid_ndcg10']:.4f}) loses more than {1 - limits['quality_kept']:.0%}"))
    return result


def evaluate(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Measures the sealed candidate and both baselines, as they would be served, on the same users' purchases of the test days.

    Writes evaluation.parquet (unit, NDCG@10 of each model), evaluation.json and the sealed baselines under `folder`.
    Every purchase counts, bought before or not; what lies outside the universe counts as missed, for all alike.
    """
    started, rules, data = time.monotonic(), recipe(), load_dataset(dataset)
    _prepare(settings)
    chosen = fit_baselines(settings, data, folder, rules, echo)
    held = held_out(data, data.test_from, data.end + 1)
    models = {"candidate": folder, "popularity_7d": folder / "baselines/popularity_7d", "ease_recency": folder / "baselines/ease_recency"}
    columns, means = {}, {}
    for name, place in models.items():
        model = serving.load(place, settings.threads)
        ranked, _ = model.recommend(held["histories"], held["day"], K)
        values = metrics.per_user(ranked, held["offsets"], held["items"], K)
        columns[name] = values[f"NDCG@{K}"]
        means[name] = {**_means(values), f"coverage@{K}": round(metrics.coverage(ranked, len(data.item_ids), K), 5)}
        echo(f"{name}: " + ", ".join(f"{metric} {value:.4f}" for metric, value in means[name].items()))
        if name == "candidate":
            parts = _parts(model, held)
    result = {"models": means, "candidate_parts": parts, "users": len(held["users"]), "seed": settings.seed, "ease": chosen,
              "split": {"valid_from": data.meta["valid_from"], "test_from": data.meta["test_from"], "last_day": data.meta["day"]},
              "test_purchases_covered": data.meta["test_purchases_covered"], "seconds": round(time.monotonic() - started, 1)}
    pq.write_table(pa.table({"unit": data.user_ids[held["users"]].tolist(), **columns}), folder / "evaluation.parquet")
    (folder / "evaluation.json").write_text(json.dumps(result, indent=1, sort_keys=True), encoding="utf-8")
    return result


def _prepare(settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads or os.cpu_count() or 1)


def _training(data: Dataset, own: dict, random: np.random.Generator) -> tuple[Baskets, np.ndarray, np.ndarray]:
    """Training baskets, where each one's window of targets ends, and purchases per item."""
    users = np.arange(len(data.user_ids))
    if len(users) > own["max_train_users"]:
        users = np.sort(random.choice(users, own["max_train_users"], replace=False))
    past = before(data, data.valid_from, users)
    given = baskets(past.offsets, past.items, past.days, past.weights, own["max_baskets"])
    owner = np.repeat(np.arange(len(users)), np.diff(given.users)).astype(np.int64)
    stride = np.int64(data.end + own["horizon"] + 1)
    # Days of all users on one ascending axis, so one search finds every window's end.
    ends = np.searchsorted(owner * stride + given.days, owner * stride + given.days + own["horizon"], side="right")
    return given, ends, np.bincount(past.items, minlength=len(data.item_ids))


def _means(values: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: round(float(value.mean()), 5) if len(value) else 0.0 for name, value in values.items()}


def _agreement(expected: np.ndarray, ranked: np.ndarray) -> float:
    """Mean share of the expected items that are ranked too."""
    return float((expected[:, :, None] == ranked[:, None, :]).any(axis=2).mean()) if len(expected) else 1.0


def _tune_repeat(model: serving.Sequential, held: dict, grid: dict) -> dict:
    """w and a of the repeat component that rank best on the validation users, around what training learned."""
    best, fresh = {"valid_ndcg10": -1.0}, np.diff(held["histories"].offsets) == 0
    base = model.base(held["histories"])
    counts = decayed_counts(held["histories"], held["day"], model.half_life, len(model.item_ids))
    for share in grid["shares"]:
        for weight in grid["weights"]:
            tried = replace(model, repeat=round(weight * model.repeat, 5), share=round(share * model.share, 5))
            scores = tried.add_repeat(base.copy(), counts)
            scores[fresh] = model.popularity
            value = ndcg(top(scores, min(K, scores.shape[1]))[0], held)
            if value > best["valid_ndcg10"]:
                best = {"valid_ndcg10": value, "half_life": model.half_life, "repeat": tried.repeat, "scale": model.scale, "share": tried.share}
    return best


def _parts(model: serving.Sequential, held: dict) -> dict:
    """The candidate's ranking quality without one of its two parts: what each is worth."""
    given, day = held["histories"], held["day"]
    transformer, _ = rank(model.base, given, model.popularity, K, False)
    tie = model.popularity / max(float(model.popularity.max()), 1.0) * 1e-3
    habit, _ = rank(lambda block: decayed_counts(block, day, model.half_life, len(tie)).toarray() + tie, given, model.popularity, K, False)
    return {"transformer_alone": {f"NDCG@{K}": ndcg(transformer, held)}, "repeat_alone": {f"NDCG@{K}": ndcg(habit, held)}}


def _in_torch(model: Sequential, data: Dataset, sold: np.ndarray, own: dict, half_life: float, weight: float, scale: float,
              share: float) -> serving.Sequential:
    """The model in training, ranked exactly as it will be served."""
    model.eval()
    device = model.text.device

    def encode(vectors: np.ndarray, days: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model.encoder(torch.from_numpy(vectors).to(device), torch.from_numpy(days).to(device)).cpu().numpy()

    with torch.inference_mode():
        table, bias, again = (part.cpu().numpy() for part in (model.item_vectors(), model.bias, model.propensity()))
    return serving.Sequential(data.item_ids, table, bias, sold, encode, own["max_baskets"], half_life, again, weight, scale, share)


def _restore(folder: Path, own: dict) -> Sequential:
    text = torch.from_numpy(np.load(folder / TEXT, allow_pickle=False))
    model = Sequential(text, torch.ones(len(text)), own)
    model.load_state_dict(load_file(folder / WEIGHTS), strict=False)
    return model.eval()


