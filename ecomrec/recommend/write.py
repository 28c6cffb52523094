"""Lists and candidates to Postgres by COPY. Arrow joins the arrays, so nothing is done per user or item in Python."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ecomrec import database
from ecomrec.recommend.candidates import Candidates
from ecomrec.recommend.catalogue import Catalogue
from ecomrec.recommend.explain import REASONS
from ecomrec.recommend.lists import Lists

LISTS = ("publication_id", "shard", "user_id", "item_ids", "scores", "reasons", "because", "model_version", "context", "scope", "evidence", "propensities")
CANDIDATES = ("publication_id", "shard", "user_id", "scored_day", "segment", "others", "bought", "items", "scores", "embedding")


def lists_table(plan: dict, shard: int, users: np.ndarray, lists: Lists, reasons: tuple[np.ndarray, np.ndarray, np.ndarray], catalogue: Catalogue) -> pa.Table:
    """Rows of recs.user_recommendations. A list without items is left out, except the home list, which every user has."""
    rows = np.flatnonzero((lists.items >= 0).any(axis=1) | (lists.context == "home"))
    items = lists.items[rows]
    reason, because, evidence = (part[rows] for part in reasons)
    there = items >= 0
    offsets = pa.array(np.concatenate(([0], np.cumsum(there.sum(axis=1)))).astype(np.int32))
    titles = pa.concat_arrays([catalogue.literals, pa.array(['""'])])  # -1 is the last one, the empty id
    count = len(rows)
    scope = np.full(count, "", dtype=object) if lists.scope is None else lists.scope[rows]
    columns = [_repeat(plan["publication_id"], count), _repeat(shard, count), pa.array(users[rows].tolist(), pa.string()),
               _array(titles.take(pa.array(items[there])), offsets), _array(_numbers(lists.scores[rows][there]), offsets),
               _array(pa.array(REASONS).take(pa.array(reason[there])), offsets),
               _array(titles.take(pa.array(np.where(because[there] < 0, len(titles) - 1, because[there]))), offsets),
               _repeat(plan["model_version"], count), _repeat(lists.context, count), pa.array(scope.tolist(), pa.string()),
               _array(_numbers(evidence[there]), offsets),
               pa.nulls(count, pa.string()) if lists.propensities is None else _array(_numbers(lists.propensities[rows][there]), offsets)]
    return pa.table(columns, names=LISTS)


def candidates_table(plan: dict, shard: int, users: np.ndarray, scored_day: np.ndarray, segments: np.ndarray, found: Candidates,
                     vectors: np.ndarray | None = None) -> pa.Table:
    """Rows of recs.user_candidates; `scored_day` datetime64[D] [U], `vectors` float32 [U, d]."""
    there = found.items >= 0
    offsets = pa.array(np.concatenate(([0], np.cumsum(there.sum(axis=1)))).astype(np.int32))
    count, middle = len(users), found.others + found.bought
    columns = [_repeat(plan["publication_id"], count), _repeat(shard, count), pa.array(users.tolist(), pa.string()), pa.array(scored_day.astype("datetime64[D]").astype(str).tolist(), pa.string()),
               pa.array(segments.tolist(), pa.string()), pa.array(there[:, :found.others].sum(axis=1)), pa.array(there[:, found.others:middle].sum(axis=1)),
               _array(pc.cast(pa.array(found.items[there]), pa.string()), offsets), _array(_numbers(found.scores[there]), offsets),
               pa.nulls(count, pa.string()) if vectors is None else _vectors(vectors)]
    return pa.table(columns, names=CANDIDATES)


def arrays(catalogue: Catalogue, items: np.ndarray, scores: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """Item ids and scores [n, L] as Postgres array literals; places that are -1 are left out."""
    there = items >= 0
    offsets = pa.array(np.concatenate(([0], np.cumsum(there.sum(axis=1)))).astype(np.int32))
    return _array(catalogue.literals.take(pa.array(items[there])), offsets), _array(_numbers(scores[there]), offsets)


def copy_in(connection, partition: str, table: pa.Table) -> int:
    """COPY an Arrow table into a partition; returns the rows."""
    stream = io.BytesIO()
    pyarrow.csv.write_csv(table, stream, pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed"))
    stream.seek(0)
    return database.copy_in(connection, partition, table.column_names, stream)


def _repeat(value, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)


def _numbers(values: np.ndarray) -> pa.Array:
    return pc.cast(pa.array(values), pa.string())


def _vectors(vectors: np.ndarray) -> pa.Array:
    """pgvector's literals, of four decimals: half precision has no more."""
    parts = pa.ListArray.from_arrays(np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1], _numbers(np.round(vectors, 4).ravel()))
    return pc.binary_join_element_wise("[", pc.binary_join(parts, ","), "]", "")


def _array(elements: pa.Array, offsets: pa.Array) -> pa.Array:
    """Postgres array literals: the elements between two offsets make one."""
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, elements), ",")
    return pc.binary_join_element_wise("{", joined, "}", "")
