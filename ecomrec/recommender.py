"""The recommender family: trains, compresses and evaluates the model beside its baselines.

The model is a transformer over what the user did (models/sequential.py), blended with an item-item model that reads the
items' words (models/ease.py, models/words.py). Every choice (epochs, half-lives, penalties, blend, the baselines'
hyper-parameters) is made on validation with histories that end before it. The test part is read by `evaluate` alone, and by `rank_new` for benchmarks;
training asks no more of it than that somebody bought there.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from ecomrec import gates, metrics, processes, text_tuning, trainer
from ecomrec.baselines import eases, fit_baselines, grid, only, repeat_alone, tune
from ecomrec.dataset import TEST, VALID, Dataset, recipe
from ecomrec.dataset import load as load_dataset
from ecomrec.errors import InputError, memory_for
from ecomrec.heldout import LISTS, K, before, held_out, ndcg, popular, quality, some
from ecomrec.models import Recency, decayed_counts, frequency, itemitem, loading, newcomers, serving
from ecomrec.models.sequential import Baskets, Sequential, baskets
from ecomrec.models.topn import top
from ecomrec.settings import Settings
from ecomrec.text import encode as encode_texts
from ecomrec.workspace import CHECKPOINT

Echo = Callable[[str], None]
WEIGHTS, TEXT, COUNTS, TRAINING = "training/weights.safetensors", "training/text.npy", "training/counts.npy", "training/training.json"
SHOWN = 100_000  # users, drawn by the seed, on whom that is measured which decides nothing; what is judged is measured on all
SCORES, FEWEST = 250_000_000, 500  # scores of validation users that are held at once, 1 GB, and users that there are at least
REPEATED = 0.01  # share of purchases that are of something bought before; below it repeat buying is left out


def train(settings: Settings, dataset: Path, folder: Path, echo: Echo = print, rules: dict | None = None) -> dict:
    """Fits the item-item part and the transformer on the training part of the data, and their blend on validation.

    Writes weights, text vectors and training.json under `folder`/training, the item-item part that is served, fitted anew
    on all before the test part, under `folder`/linear. Returns validation NDCG@10 by epoch and of each part, what was
    chosen, and seconds. Raises InputError, before anything is fitted, where nobody bought anything in the validation or the test part.
    """
    number = settings.train_processes or torch.cuda.device_count() or 1
    if number > 1:
        echo(f"{number} processes fit the model together; they tell their progress themselves")
        result = processes.together(_train, number, settings, dataset, folder, partial(print, flush=True), rules)
    else:
        result = _train(settings, dataset, folder, echo, rules)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return result


def _train(settings: Settings, dataset: Path, folder: Path, echo: Echo, rules: dict | None) -> dict:
    """`train` in one process, or in one of several: the first does all that is not fitting the transformer, and alone writes and speaks."""
    started, data = time.monotonic(), load_dataset(dataset)
    if not processes.first():
        echo = _silent
    rules = recipe_for(data, rules)
    prepare(settings)
    own, place = rules["sequential"], folder / "training"
    # The blend is tuned on scores of all items at once: of a large catalogue, for fewer users.
    held = _somebody(data, VALID, settings.seed, min(own["max_valid_users"], max(FEWEST, SCORES // len(data.item_ids))))
    _somebody(data, TEST, most=1)  # `evaluate` will ask for the same: nobody waits a training long to be told
    given, ends, counts, repeats = training_positions(data, own, np.random.default_rng(settings.seed))
    with memory_for(f"while the texts of {len(data.texts):,} items were encoded", "lower [text] max_length or [dataset] max_items in recommender.toml, or [text.tune] batch"):
        text = plain = encode_texts(data.texts, settings.encoder, rules["text"]["max_length"])
        if rules["text"]["tune"]["pairs"] and processes.first():  # the others are given its vectors, with the weights that all start from
            text = text_tuning.encode(settings, data.texts, given, rules["text"], echo)
    encoded = time.monotonic() - started
    echo(f"{len(set(data.texts)):,} distinct item texts encoded in {encoded:.1f} s")
    sold = popular(data, VALID, rules["popularity"]["days"])
    if processes.first():
        with memory_for(f"while EASE was fitted on {len(data.item_ids):,} items", "lower [limits] exact_items or neighbours, or [dataset] max_items in recommender.toml"):
            chosen, linear = _linear(settings, data, rules, folder, echo)
    half_life, alone = repeat_alone(held, sold, rules["repeat"]["half_lives"]) if repeats else (rules["repeat"]["half_lives"][0], 0.0)
    if repeats:
        echo(f"repeat buying alone: validation NDCG@{K} {alone:.4f} at a half-life of {half_life:g} days")
    model = Sequential(torch.from_numpy(text), torch.from_numpy(counts), own, repeats, _groups(data, own))
    sampling = (counts + 1.0) ** own["power"]
    task = trainer.Task(given, ends, sampling / sampling.sum(), half_life if repeats else None)
    if task.teaching.any():
        fitted = trainer.fit(model, task, own, settings.seed,
                             lambda model: quality(in_torch(model, data, sold, own, half_life, *model.habit()), held),
                             place, folder / CHECKPOINT, echo)
    else:  # a model at its random start must not take part
        echo(f"nobody bought again within {own['horizon']} days: the transformer has nothing to learn from and is left out (raise [sequential] horizon in recommender.toml, or load more days)")
        fitted = {"epochs": 0, "valid_transformer": 0.0, "curve": [], "losses": [], "positions": 0, "fit_s": 0.0}
        rules["blend"] = {**rules["blend"], "shares": [1.0]}
    if not processes.first():
        return {}
    with memory_for(f"while the blend was tuned on {len(held['users']):,} users and {len(data.item_ids):,} items", "lower [sequential] max_valid_users in recommender.toml"):
        tuned = _tune_blend(replace(in_torch(model, data, sold, own, half_life, *model.habit()), linear=linear), held, rules)
    result = {**tuned, **fitted, "ease": chosen["ease"], "linear": chosen["linear"], "repeats": repeats, "valid_repeat_alone": round(alone, 5), "encoder": settings.encoder,
              "valid_users": len(held["users"]), "text_s": round(encoded, 1), "seconds": round(time.monotonic() - started, 1)}
    echo(f"chosen on validation: {tuned['blend']:.0%} item-item, repeat weight {tuned['repeat']:.3f}, trend {tuned['trend']:g}, NDCG@{K} {tuned['valid_ndcg10']:.4f}")
    save_file({name: part.detach().cpu().contiguous() for name, part in model.state_dict().items() if name not in ("text", "seen")}, folder / WEIGHTS)
    np.save(folder / TEXT, text)
    np.save(folder / "item_vectors.npy", plain.astype(np.float16))  # where a publication places new products, by the encoder that made them
    np.save(folder / COUNTS, counts)
    (folder / TRAINING).write_text(json.dumps(result, indent=1, sort_keys=True), encoding="utf-8")
    return result


def _somebody(data: Dataset, part: int, seed: int = 0, most: int | None = None) -> dict:
    """`held_out` of a part that judges models. Raises InputError where nobody is in it: all models would tie, and the first of them win."""
    held = held_out(data, part, seed, most)
    if not len(held["users"]):
        new = " that was new to them, and ECOMREC_EXCLUDE_BOUGHT leaves out the rest," if held["exclude"] and not data.by_user else ""
        name, days = (("validation", f"the days before {data.meta['test_from']} from {data.meta['valid_from']}") if part == VALID else
                      ("test", f"the days from {data.meta['test_from']} to {data.meta['day']}"))
        raise InputError(f"nobody bought anything{new} in the {name} part" + ("" if data.by_user else f", {days}") + ": nothing says which model is good",
                         "load those days (DAG load_history), train for an earlier day, or move them with ECOMREC_VALID_DAYS and ECOMREC_TEST_DAYS; the model in service stays")
    return held


def chosen_in(settings: Settings, folder: Path) -> dict:
    """What `train` chose for the model in `folder`. One that an earlier release trained names no encoder: then it is that of the settings."""
    return {"encoder": settings.encoder, **json.loads((folder / TRAINING).read_text(encoding="utf-8"))}


def _silent(line: str) -> None:
    """Says nothing."""


def recipe_for(data: Dataset, rules: dict | None = None) -> dict:
    """The recipe for the way the data is split: where the next event is predicted, a section's `by_user` overrides it."""
    found = {}
    for name, section in (recipe() if rules is None else rules).items():
        others = section.get("by_user", {}) if data.by_user else {}
        found[name] = {**{key: value for key, value in section.items() if key != "by_user"}, **others}
    return found


def _linear(settings: Settings, data: Dataset, rules: dict, folder: Path, echo: Echo) -> tuple[dict, itemitem.ItemItem]:
    """Tunes EASE and then the weight of the words beside its penalty. Saves the item-item part fitted on all before the test
    part under `folder`/linear; returns what was chosen for both and the part fitted on the training part."""
    plain, _ = tune(settings, data, rules, eases(data, VALID, rules, rules["ease"]))
    echo(f"EASE with recency: validation NDCG@{K} {plain['valid_ndcg10']:.4f}, lambda {plain['lambda']:g}")
    best, linear = tune(settings, data, rules, eases(data, VALID, rules, {**grid(plain), "words": rules["linear"]["words"]}))
    echo(f"with the items' words: validation NDCG@{K} {best['valid_ndcg10']:.4f}, words {best['words']:g}")
    itemitem.save(folder / "training" / "linear", linear)
    itemitem.save(folder / "linear", only(eases(data, TEST, rules, grid(best))))
    return {"ease": plain, "linear": best}, linear


def evaluate(settings: Settings, dataset: Path, folder: Path, echo: Echo = print) -> dict:
    """Measures the sealed candidate and the baselines, as they would be served, on the same users' purchases of the test days.

    Writes evaluation.parquet (unit, NDCG@10 of each model), evaluation.json and the sealed baselines under `folder`.
    Every purchase counts, bought before or not (but where the shop leaves out what was bought); what lies outside the universe counts as missed, for all alike.
    Raises InputError where nobody bought anything on those days.
    """
    started, data = time.monotonic(), load_dataset(dataset)
    _somebody(data, TEST, most=1)
    rules = recipe_for(data)
    prepare(settings)
    with memory_for(f"while the baselines were fitted on {len(data.item_ids):,} items", "lower [limits] exact_items or neighbours, or [dataset] max_items in recommender.toml"):
        trained = chosen_in(settings, folder)
        chosen = fit_baselines(settings, data, folder, rules, trained["ease"], trained["encoder"], echo)
    return measure(settings, data, folder, chosen, rules["sequential"]["max_valid_users"], started, echo)


def measure(settings: Settings, data: Dataset, folder: Path, chosen: dict, most: int, started: float, echo: Echo = print) -> dict:
    """`evaluate` with the baselines under `folder` fitted; `chosen`: the choices of each, by name; `most`: users on whom parts are told apart.

    Beside the means, the lists of every model are kept in lists.npz for `ecomrec.evaluation`.
    """
    held = held_out(data, TEST)
    models = {"candidate": folder, **{name: folder / "baselines" / name for name in chosen}}
    everyone = before(data, TEST, np.sort(np.random.default_rng(settings.seed).permutation(data.meta["users"])[:SHOWN]))
    buyers = np.bincount(np.unique(everyone.owners() * len(data.item_ids) + everyone.items) % len(data.item_ids), minlength=len(data.item_ids))
    columns, means, lists = {}, {}, {}
    judged = {"candidate", *gates.rules_of("recommender")["must_beat"]}
    drawn = np.sort(np.random.default_rng(settings.seed).permutation(len(held["users"]))[:SHOWN])
    for name, place in models.items():
        model, rows = loading.load(place, settings.threads), np.arange(len(held["users"]))
        if name not in judged and len(drawn) < len(rows):  # shown beside the others, and decides nothing
            rows = drawn
        given, offsets, items = some(held, rows)
        ranked, _ = model.recommend(given, held["day"], K, held["exclude"])
        values = metrics.per_user(ranked, offsets, items, K)
        columns[name] = np.full(len(held["users"]), np.nan)
        columns[name][rows] = values[f"NDCG@{K}"]
        seen, past = (ranked[drawn], some(held, drawn)[0]) if len(rows) > len(drawn) else (ranked, given)  # means over so many are exact enough
        if name in judged:
            lists[name] = ranked
        means[name] = {**_means({**values, f"novelty@{K}": metrics.novelty(seen, buyers, len(everyone), K),
                                 f"diversity@{K}": metrics.diversity(seen, model.item_vectors, K)}),
                       f"popularity_lift@{K}": round(metrics.popularity_lift(seen, past, buyers, K), 5),
                       f"price_gap@{K}": round(metrics.price_gap(seen, past, data.prices, K), 5),
                       f"coverage@{K}": round(metrics.coverage(ranked, len(data.item_ids), K), 5), f"gini@{K}": round(metrics.gini(ranked, len(data.item_ids), K), 5)}
        echo(f"{name}: " + ", ".join(f"{metric} {value:.4f}" for metric, value in means[name].items()))
        if name == "candidate":
            parts = _parts(model, held_out(data, TEST, settings.seed, most))
    result = {"models": means, "candidate_parts": parts, "users": len(held["users"]), "seed": settings.seed, "baselines": chosen,
              "split": {"valid_from": data.meta["valid_from"], "test_from": data.meta["test_from"], "last_day": data.meta["day"]},
              "test_purchases_covered": data.meta["test_purchases_covered"], "seconds": round(time.monotonic() - started, 1)}
    pq.write_table(pa.table({"unit": data.user_ids[held["users"]].tolist(), **columns}), folder / "evaluation.parquet")
    np.savez(folder / LISTS, **lists)
    (folder / "evaluation.json").write_text(json.dumps(result, indent=1, sort_keys=True), encoding="utf-8")
    return result


def rank_new(settings: Settings, data: Dataset, folder: Path, new: np.ndarray) -> dict:
    """NDCG@10 of the items `new`, which training has not seen, ranked among themselves for the test users who bought one of them.

    The candidate, the model in `folder`, ranks them as it serves: by the scores that they borrow. Beside it: what it makes of them by the text alone
    that it holds of each (`by_text`), what sold most among them (in the test part itself, which flatters it, as before it none was
    sold) and the nearest by frozen text to the user's history, all of it or the recent counting more.
    """
    model, held = loading.load(folder, settings.threads), held_out(data, TEST)
    rows = np.flatnonzero(np.isin(held["items"], new))
    owners = np.repeat(np.arange(len(held["users"])), np.diff(held["offsets"]))[rows]
    users, offsets, items = metrics.wanted(owners, np.searchsorted(new, held["items"][rows]))
    given = before(data, TEST, held["users"][users])
    sold = np.bincount(items, minlength=len(new)).astype(np.float32)
    vectors, base, known = model.item_vectors, replace(model, repeat=0.0, trend=0.0), np.setdiff1d(np.arange(len(data.item_ids)), new)
    lenders, parts = newcomers.lenders(vectors[known], vectors[new], [data.texts[item] for item in known], [data.texts[item] for item in new])
    borrowed = newcomers.borrowing(known[lenders], parts, len(vectors))
    texts = {step: (decayed_counts(given, held["day"], Recency(step=step, by_event=data.by_user), len(vectors)) @ vectors) @ vectors[new].T for step in (1.0, 0.7)}
    blocks = [base.score(given.users(first, min(first + 1000, len(given))), held["day"]) for first in range(0, len(given), 1000)]
    scores = {"candidate": np.vstack([block @ borrowed for block in blocks]), "by_text": np.vstack([block[:, new] for block in blocks]),
              "popularity": np.broadcast_to(sold, (len(given), len(new))), "text": texts[1.0], "text_recency": texts[0.7]}
    values = {name: float(metrics.per_user(top(np.array(score), K)[0], offsets, items, K)[f"NDCG@{K}"].mean()) for name, score in scores.items()}
    return {**{f"{name}.ndcg10": round(value, 5) for name, value in values.items()}, "users": len(users), "items": len(new),
            "ratio_to_best": round(values["candidate"] / max(values[name] for name in ("popularity", "text", "text_recency")), 4)}


def prepare(settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads or max(1, (os.cpu_count() or 1) // int(os.environ.get("WORLD_SIZE", "1"))))


def training_positions(data: Dataset, own: dict, random: np.random.Generator) -> tuple[Baskets, np.ndarray, np.ndarray, bool]:
    """Training positions, where each one's window of targets ends, purchases per item, and whether things are bought again."""
    users = np.arange(len(data.user_ids))
    if len(users) > own["max_train_users"]:
        users = np.sort(random.choice(users, own["max_train_users"], replace=False))
    past = before(data, VALID, users)
    given = baskets(past.offsets, past.items, past.days, past.weights, own["max_baskets"], data.by_user)
    owner = np.repeat(np.arange(len(users)), np.diff(given.users)).astype(np.int64)
    if data.by_user:
        ends = np.minimum(np.arange(len(owner)) + 2, given.users[owner + 1])
    else:
        stride = np.int64(data.end + own["horizon"] + 1)
        # Days of all users on one ascending axis, so one search finds every window's end.
        ends = np.searchsorted(owner * stride + given.days, owner * stride + given.days + own["horizon"], side="right")
    holder = np.repeat(owner, np.diff(given.offsets))
    distinct = len(np.unique(holder * len(data.item_ids) + given.items))
    repeats = not data.by_user and 1 - distinct / max(len(holder), 1) >= REPEATED
    return given, ends, np.bincount(past.items, minlength=len(data.item_ids)), repeats


def _means(values: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: round(float(value.mean()), 5) if len(value) else 0.0 for name, value in values.items()}


def _tune_blend(model: serving.Sequential, held: dict, rules: dict) -> dict:
    """The part of the item-item model, the repeat component and the trend that rank best on the validation users.

    One number after the other is moved to the best value of its grid, `rounds` times; few numbers, so that few users suffice.
    """
    given, size, tuning = held["histories"], len(model.item_ids), rules["blend"]
    vectors, linear = model.vectors(given), model.linear.rows(given, held["day"])
    counts = {half_life: decayed_counts(given, held["day"], half_life, size) for half_life in {*rules["repeat"]["half_lives"], model.half_life}}
    fresh, owners, bought = np.diff(given.offsets) == 0, given.owners(), given.weights >= 1

    def value(tried: serving.Sequential) -> float:
        scores = tried.combine(vectors, linear, counts[tried.half_life])
        scores[fresh] = model.popularity
        if held["exclude"]:
            scores[owners[bought], given.items[bought]] = -np.inf
        return ndcg(top(scores, min(K, size))[0], held)

    numbers = {"blend": tuning["shares"]}
    if model.repeat:
        numbers |= {"repeat": [weight * model.repeat for weight in rules["repeat"]["weights"]], "share": [share * model.share for share in rules["repeat"]["shares"]],
                    "half_life": rules["repeat"]["half_lives"], "readiness": rules["repeat"]["readiness"]}
    if not model.by_event:
        numbers["trend"] = tuning["trends"]
    best, reached = replace(model, blend=tuning["shares"][len(tuning["shares"]) // 2]), -1.0
    for _ in range(tuning["rounds"] if len(numbers) > 1 else 1):
        before_round = reached
        for name, grid_values in numbers.items():
            for number in grid_values:
                tried = replace(best, **{name: round(number, 5)})
                if (found := value(tried)) > reached:
                    best, reached = tried, found
        if reached == before_round:
            break
    return {"valid_ndcg10": reached, **{name: getattr(best, name) for name in ("blend", "repeat", "share", "half_life", "readiness", "trend", "scale", "by_event")}}


def _parts(model: serving.Sequential, held: dict) -> dict[str, float]:
    """What each part of the candidate is worth and costs: NDCG@10 of the whole, of each part alone and of the whole without it, and
    the milliseconds a user that it takes."""
    given, day = held["histories"], held["day"]
    tried = {"whole": model, "transformer_alone": replace(model, blend=0.0, repeat=0.0, trend=0.0),
             "linear_alone": replace(model.linear, popularity=model.popularity), "repeat_alone": frequency.Frequency(model.item_ids, model.half_life, model.popularity),
             "without_transformer": replace(model, blend=1.0), "without_linear": replace(model, blend=0.0), "without_trend": replace(model, trend=0.0)}
    if model.repeat:
        tried["without_repeat"] = replace(model, repeat=0.0)
    work = {"transformer": lambda: model.vectors(given), "linear": lambda: model.linear.rows(given, day),
            "repeat": lambda: decayed_counts(given, day, model.half_life, len(model.item_ids))}
    costs = {}
    for name, do in work.items():
        began = time.perf_counter()
        do()
        costs[f"{name}_ms"] = round(1000 * (time.perf_counter() - began) / max(len(given), 1), 5)
    return {**{name: quality(tried_model, held) for name, tried_model in tried.items()}, **costs}


def in_torch(model: Sequential, data: Dataset, sold: np.ndarray, own: dict, half_life: float, weight: float, scale: float,
              share: float) -> serving.Sequential:
    """The model in training, ranked exactly as it will be served."""
    model.eval()
    device = model.text.device

    def encode(vectors: np.ndarray, days: np.ndarray, last: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model.encoder(*(torch.from_numpy(part).to(device) for part in (vectors, days, last))).cpu().numpy()

    with torch.inference_mode():
        table, bias, again = (part.cpu().numpy() for part in (model.item_vectors(), model.bias, model.propensity()))
    return serving.Sequential(data.item_ids, table, bias, sold, encode, own["max_baskets"], half_life, again, weight, scale, share,
                              by_event=data.by_user)


def _groups(data: Dataset, own: dict) -> torch.Tensor:
    """The side features of the recipe, int64 [I, G]."""
    return torch.from_numpy(np.stack([data.groups[name] for name in own["groups"]], axis=1)) if own["groups"] else torch.zeros(len(data.item_ids), 0, dtype=torch.int64)


def restore(folder: Path, data: Dataset, own: dict, repeats: bool) -> Sequential:
    text, counts = (torch.from_numpy(np.load(folder / name, allow_pickle=False)) for name in (TEXT, COUNTS))
    model = Sequential(text, counts, own, repeats, _groups(data, own))
    model.load_state_dict(load_file(folder / WEIGHTS), strict=False)
    return model.eval()


