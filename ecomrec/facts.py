"""What the gates ask beside quality: the days learned from, what an answer costs, and whether it is always the same.

Facts are plain numbers in `facts.json` beside the model; `[<family>.limits]` in gates.toml says how far each may go. A fact that
could not be found out (no loads on record, a family without a measure) is left out, and its gate is not judged.
"""

import json
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from ecomrec import artifact, database, dataset, metrics
from ecomrec.heldout import K, decoys, held_out
from ecomrec.models import loading
from ecomrec.settings import Settings

FILE = "facts.json"
BATCH, SINGLES = 512, 64  # units answered together, and one by one


def measure(settings: Settings, family: str, data: Path, folder: Path) -> dict[str, float]:
    """Finds out the facts about the sealed model in `folder`, writes them there, and returns them:

    `days`, `stale_days`, `missing_share` (0-1) of the loads it learned from; `megabytes`; `per_second` answers in batches of 512
    and `p95_ms` of one; `repeatable`: share of units that get the same answer alone as in a batch;
    `part_gain`: how much better the whole is than the best of its parts; `least_part`: what the part adds that adds least; `foresight`: by how much at least it foresees, better
    than chance, what decoys buy (NDCG@10, lower end of the 95 % interval): above 0, it has learned from the days that judge it;
    `parity`: how far its logits lie from those that the chosen variant gave in PyTorch, before export and INT8, over their own spread.
    """
    manifest = artifact.read_manifest(folder)
    facts = {**_days(settings, manifest.get("day")), "megabytes": sum((folder / name).stat().st_size for name in manifest["files"]) / 1e6}
    answers = {"recommender": _recommender, "query_classifier": _query_classifier, "retriever": _retriever}[family]
    facts |= _cost(*answers(settings, data, folder)) | _parts(folder)
    facts |= {"recommender": _foresight, "query_classifier": _parity}.get(family, lambda *_: {})(settings, data, folder)
    facts = {name: round(float(value), 5) for name, value in facts.items() if value is not None}
    (folder / FILE).write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")
    return facts


def read(folder: Path) -> dict[str, float]:
    """The facts that were found out; `{}` when none were."""
    return json.loads((folder / FILE).read_text(encoding="utf-8")) if (folder / FILE).is_file() else {}


def _days(settings: Settings, day: str | None) -> dict:
    if day is None:
        return {}
    first = date.fromisoformat(day) - timedelta(days=settings.history_days - 1)
    with database.connect(settings.shop_dsn, application="ecomrec facts") as connection:
        return next(iter(database.query(connection, "gates/data_days", {"first": first, "last": day})), {})


def _parts(folder: Path) -> dict[str, float]:
    """How much better the whole ranks than the best of its parts alone, and than itself without the part that adds least, on test units."""
    file = folder / "evaluation.json"
    measured = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    parts = measured.get("candidate_parts", {})
    found, whole = {}, parts.get("whole", 0.0)
    if alone := max((value for name, value in parts.items() if name.endswith("_alone")), default=0.0):
        found["part_gain"] = whole / alone - 1
    if without := max((value for name, value in parts.items() if name.startswith("without_")), default=0.0):
        found["least_part"] = whole / without - 1
    return found


def _foresight(settings: Settings, place: Path, folder: Path) -> dict[str, float]:
    data, model = dataset.load(place), loading.load(folder, settings.threads)
    planted = decoys(data)
    if planted is None or len(model.item_ids) != len(data.item_ids):
        return {}
    ranked, _ = model.recommend(planted["histories"], planted["day"], K, planted["exclude"])
    values = metrics.per_user(ranked, planted["offsets"], planted["items"], K)[f"NDCG@{K}"]
    discounts, size = 1 / np.log2(np.arange(2, K + 2)), len(data.item_ids)
    chance = discounts[:min(K, size)].sum() * dataset.SIDE / size / discounts[:dataset.SIDE].sum()
    return {"foresight": values.mean() - 1.96 * values.std(ddof=1) / np.sqrt(len(values)) - chance}


def _parity(settings: Settings, place: Path, folder: Path) -> dict[str, float]:
    from ecomrec.evaluation import classifier
    from ecomrec.query_classifier import GOLDEN

    if not (folder / GOLDEN).is_file():
        return {}
    golden, model = json.loads((folder / GOLDEN).read_text(encoding="utf-8")), classifier(folder, settings)
    return {"parity": metrics.parity(model.run(golden["queries"])[0], np.array(golden["logits"]))}


def _cost(count: int, answer: Callable[[np.ndarray], list]) -> dict[str, float]:
    """`answer`: row numbers below `count` -> one answer each."""
    if not count:
        return {}
    rows = np.arange(min(count, BATCH))
    answer(rows[:2])  # what is only done once is not an answer's cost
    began = time.perf_counter()
    together = answer(rows)
    batch = time.perf_counter() - began
    singles, seconds = [], []
    for row in rows[:SINGLES]:
        began = time.perf_counter()
        singles += answer(rows[row:row + 1])
        seconds.append(time.perf_counter() - began)
    same = np.mean([one == other for one, other in zip(singles, together, strict=False)])
    return {"per_second": len(rows) / batch, "p95_ms": 1000 * np.quantile(seconds, 0.95), "repeatable": same}


def _recommender(settings: Settings, place: Path, folder: Path) -> tuple[int, Callable[[np.ndarray], list]]:
    held, model = held_out(dataset.load(place), dataset.TEST), loading.load(folder, settings.threads)
    given = held["histories"]
    return len(given), lambda rows: [sorted(ranked.tolist()) for ranked in
                                     model.recommend(given.users(int(rows[0]), int(rows[-1]) + 1), held["day"], K, held["exclude"])[0]]


def _retriever(settings: Settings, place: Path, folder: Path) -> tuple[int, Callable[[np.ndarray], list]]:
    from ecomrec import retriever
    from ecomrec.search import hybrid
    from ecomrec.search.lexical import Lexical

    held, model = retriever.test_queries(settings, place), hybrid.load(folder, settings.threads)
    lexical, vectors = Lexical(held["texts"]), model.encode(held["texts"]) if model.encoder else None
    return len(held["queries"]), lambda rows: [sorted(found.tolist()) for found in
                                               model.search([held["queries"][row] for row in rows], vectors, lexical, held["texts"], K)[0]]


def _query_classifier(settings: Settings, place: Path, folder: Path) -> tuple[int, Callable[[np.ndarray], list]]:
    from ecomrec import query_classifier
    from ecomrec.evaluation import classifier

    queries, model = query_classifier.read(place, "test")["query"], classifier(folder, settings)
    return len(queries), lambda rows: [found[0] for found in model.predict([queries[row] for row in rows], 1)[0]]
