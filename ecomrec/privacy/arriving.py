"""What becomes of personal data while DuckDB reads a shop's files: before a row is kept anywhere, on disk or in Postgres.

Functions for SQL, made by `prepare`: `pseudonym(id)`, `scrubbed(text)`, `scrubbed_json(object)`, `scrubbed_refusal(payload)`.
Texts that hold no personal data, nearly all, are told by a pattern that DuckDB checks itself; only the others go through Python.
"""

import json
import re
from functools import lru_cache

import duckdb

from ecomrec.privacy import pii
from ecomrec.privacy.pseudonyms import Pseudonyms
from ecomrec.privacy.traces import MIN_WORD

REMEMBERED = 100_000  # texts; the same query comes often


def prepare(connection: duckdb.DuckDBPyConnection, keys: Pseudonyms, user_paths: tuple[tuple[str, ...], ...] = (("user_id",),), join: str = "/") -> None:
    """Makes the functions. `user_paths`: where a row holds its user id, in the shop's own names; several are joined with `join`."""
    keys.prepare(connection)
    text = lru_cache(REMEMBERED)(pii.scrub)
    for name, function in (("scrub_text", text), ("scrub_object", pii.scrub_json), ("scrub_refusal", lambda payload: refusal(payload, keys, user_paths, join))):
        connection.create_function(name, function, ["VARCHAR"], "VARCHAR")
    for name, inner in (("scrubbed", "scrub_text"), ("scrubbed_json", "scrub_object")):
        connection.execute(f"CREATE OR REPLACE TEMPORARY MACRO {name}(t) AS CASE WHEN regexp_matches(CAST(t AS VARCHAR), '{pii.MAYBE}') "
                           f"THEN {inner}(CAST(t AS VARCHAR)) ELSE CAST(t AS VARCHAR) END")
    connection.execute("CREATE OR REPLACE TEMPORARY MACRO scrubbed_refusal(t) AS scrub_refusal(t)")
    connection.execute(f"CREATE OR REPLACE TEMPORARY MACRO without_user(t, id) AS CASE WHEN {len(keys.keys)} > 0 AND length(id) >= {MIN_WORD} AND contains(CAST(t AS VARCHAR), id) "
                       "THEN replace(CAST(t AS VARCHAR), id, pseudonym(id)) ELSE CAST(t AS VARCHAR) END")


def refusal(payload: str, keys: Pseudonyms, user_paths: tuple[tuple[str, ...], ...], join: str) -> str:
    """A refused row as it may be kept: its user id a pseudonym, its texts scrubbed. Of a line that is no JSON object, where nobody
    can tell what is what, only the outline: letters as `a`, digits as `9`."""
    try:
        row = json.loads(payload)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        return pii.scrub(payload) if not keys.keys else outline(payload)
    found = ["" if (part := _at(row, path)) is None else str(part) for path in user_paths]
    if keys.keys and any(found):
        raw = join.join(found)
        for path, part in zip(user_paths, found, strict=True):
            if part:
                _put(row, path, keys.of(raw))
        row = _without(row, raw, keys.of(raw)) if len(raw) >= MIN_WORD else row
    return pii.scrub_json(json.dumps(row, ensure_ascii=False))


def outline(text: str) -> str:
    """The shape of a text without what it says."""
    return re.sub(r"\d", "9", re.sub(r"[^\W\d_]", "a", text))


def _at(row: dict, path: tuple[str, ...]):
    for step in path:
        row = row.get(step) if isinstance(row, dict) else None
    return row


def _put(row: dict, path: tuple[str, ...], value: str) -> None:
    for step in path[:-1]:
        row = row[step]
    row[path[-1]] = value


def _without(value, raw: str, pseudonym: str):
    match value:
        case str():
            return value.replace(raw, pseudonym)
        case list():
            return [_without(part, raw, pseudonym) for part in value]
        case dict():
            return {name: _without(part, raw, pseudonym) for name, part in value.items()}
    return pseudonym if str(value) == raw else value
