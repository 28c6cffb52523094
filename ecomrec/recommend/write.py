"""Lists and candidates to Postgres by COPY, from arrays: nothing is done per user or item in Python."""

import io

import numpy as np

from ecomrec import database
from ecomrec.recommend import binary
from ecomrec.recommend.candidates import Candidates
from ecomrec.recommend.catalogue import Catalogue
from ecomrec.recommend.explain import REASONS
from ecomrec.recommend.lists import Lists

REASON_TEXTS = binary.Texts.of(list(REASONS))


def lists_rows(plan: dict, shard: int, users: np.ndarray, lists: Lists, reasons: tuple[np.ndarray, np.ndarray, np.ndarray], catalogue: Catalogue) -> dict[str, binary.Column]:
    """Rows of recs.user_recommendations. A list without items is left out, except the home list, which every user has."""
    rows = np.flatnonzero((lists.items >= 0).any(axis=1) | (lists.context == "home"))
    items = lists.items[rows]
    reason, because, evidence = (part[rows] for part in reasons)
    there = items >= 0
    offsets, count = _offsets(there), len(rows)
    return {"publication_id": binary.constant(plan["publication_id"], count), "shard": binary.constant(shard, count, np.int32),
            "user_id": binary.each_text(users[rows].tolist()), "context": binary.constant(lists.context, count),
            "scope": binary.constant("", count) if lists.scope is None else binary.each_text(lists.scope[rows].tolist()),
            "item_ids": binary.text_lists(catalogue.texts, items[there], offsets), "scores": binary.number_lists(lists.scores[rows][there], offsets),
            "reasons": binary.text_lists(REASON_TEXTS, reason[there], offsets), "because": binary.text_lists(catalogue.texts, because[there], offsets),
            "evidence": binary.number_lists(evidence[there], offsets),
            "propensities": binary.nulls(count) if lists.propensities is None else binary.number_lists(lists.propensities[rows][there], offsets),
            "model_version": binary.constant(plan["model_version"], count)}


def candidates_rows(plan: dict, shard: int, users: np.ndarray, scored_day: np.ndarray, segments: np.ndarray, found: Candidates,
                    vectors: np.ndarray | None = None) -> dict[str, binary.Column]:
    """Rows of recs.user_candidates; `scored_day` datetime64[D] [U], `vectors` float32 [U, d]."""
    there = found.items >= 0
    offsets, count, middle = _offsets(there), len(users), found.others + found.bought
    return {"publication_id": binary.constant(plan["publication_id"], count), "shard": binary.constant(shard, count, np.int32),
            "user_id": binary.each_text(users.tolist()), "scored_day": binary.integers(scored_day), "segment": binary.each_text(segments.tolist()),
            "others": binary.integers(there[:, :found.others].sum(axis=1).astype(np.int32)), "bought": binary.integers(there[:, found.others:middle].sum(axis=1).astype(np.int32)),
            "items": binary.number_lists(found.items[there], offsets), "scores": binary.number_lists(found.scores[there], offsets),
            "embedding": binary.nulls(count) if vectors is None else binary.half_vectors(vectors)}


def items_and_numbers(catalogue: Catalogue, items: np.ndarray, numbers: np.ndarray) -> tuple[binary.Column, binary.Column]:
    """Columns of item ids (text[]) and of what belongs to them (real[]), [n, L] each; places that are -1 are left out."""
    there = items >= 0
    offsets = _offsets(there)
    return binary.text_lists(catalogue.texts, items[there], offsets), binary.number_lists(numbers[there], offsets)


def copy_in(connection, partition: str, columns: dict[str, binary.Column]) -> int:
    """COPY of the columns into a partition; returns the rows."""
    return database.copy_in(connection, partition, columns, io.BytesIO(binary.encode(list(columns.values()))), format="binary")


def _offsets(there: np.ndarray) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(there.sum(axis=1)))).astype(np.int64)
