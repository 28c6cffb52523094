"""The index of a recommender whose catalogue is too large to score whole, made when the model is compressed and sealed with it: every machine
then searches the same cells. As many of them are read as it takes to find what scoring everything would; if that never happens, everything is scored.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ecomrec.models import Histories, nearest, serving
from ecomrec.models.topn import pick, top

DEEP = 200       # candidates whose recall is measured
JUDGES = 500     # users that it is measured on
BLOCK = 500      # users searched for at once
DEPTHS = 3, 6, 12  # times as many items as are wanted that are looked at, until all cells together have the recall


def fit(model: serving.Sequential, given: Histories, day: int, seed: int, least: float, folder: Path, echo: Callable[[str], None]) -> dict:
    """Writes the index of `model` into `folder` and returns its facts: cells, probes (0: no index, `why` says so), depth, recall of the best DEEP by the
    model's score, how many times faster they were found, seconds. `given`: users by whom it is judged, `least`: the recall that is asked for.
    """
    started, path = time.monotonic(), folder / nearest.FILE
    path.unlink(missing_ok=True)
    judges = given.take(np.random.default_rng(seed).permutation(np.flatnonzero(np.diff(given.offsets) > 0))[:JUDGES])
    if not len(judges):
        return {"probes": 0, "why": "no user has a history to measure its recall on"}
    index = nearest.build(model.tall, seed)
    vectors, facts = model.vectors(judges), {"cells": int(index.cells.nlist)}
    whole, wanted = _timed(lambda block, given: top(model.score(block, day, given), DEEP)[0], judges, vectors, max(1, serving.CELLS // len(model.item_ids)))

    def tried(searching: nearest.Index) -> float:
        seconds, found = _timed(lambda block, given: best(replace(model, index=searching), block, day, given, DEEP), judges, vectors, BLOCK)
        facts.update(probes=searching.probes, depth=searching.depth, recall=round(nearest.found_of(wanted, found), 4), faster=round(whole / seconds, 1))
        return facts["recall"]

    for depth in DEPTHS:  # first how much must be looked at: the index knows the transformer alone
        if tried(replace(index, probes=index.cells.nlist, depth=depth)) >= (1 + least) / 2:
            break
    if facts["recall"] < least:
        why = f"all cells hold {facts['recall']:.1%} of the best {DEEP}, less than {least:.0%}"
        echo(f"compress: every item is scored: {why}")
        return {**facts, "probes": 0, "why": why, "seconds": round(time.monotonic() - started, 1)}
    nearest.enough(replace(index, depth=facts["depth"]), least, tried)
    nearest.save(path, index)
    echo(f"compress: {len(model.item_ids):,} items are searched: {facts['probes']} of {facts['cells']:,} cells hold {facts['recall']:.1%} of the best {DEEP}, {facts['faster']} x faster")
    return {**facts, "seconds": round(time.monotonic() - started, 1)}


def best(model: serving.Sequential, given: Histories, day: int, vectors: np.ndarray, count: int) -> np.ndarray:
    """The `count` best items that the index leads to, int32 [U, count]."""
    items, taken = nearest.merged([model.nearest(given, day, count, vectors), nearest.padded(given.offsets, given.items)], len(model.item_ids))
    return pick(items, top(np.where(taken, model.score_some(given, day, items, vectors), np.float32(-np.inf)), count)[0])


def _timed(work: Callable, given: Histories, vectors: np.ndarray, step: int) -> tuple[float, np.ndarray]:
    """Seconds of work(users, their vectors), `step` users at a time, and what it found; what a model prepares once is not timed."""
    work(given.users(0, 1), vectors[:1])
    began = time.monotonic()
    found = [work(given.users(at, min(at + step, len(given))), vectors[at:at + step]) for at in range(0, len(given), step)]
    return max(time.monotonic() - began, 1e-9), np.concatenate(found)
