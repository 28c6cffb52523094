"""What becomes of personal data while DuckDB reads a shop's files: before a row is kept anywhere, on disk or in Postgres.

Functions for SQL, made by `prepare`: `pseudonym(id)`, `scrubbed(text)`, `scrubbed_json(object)`, `scrubbed_refusal(payload)`, and
`without_user(text, id)`, `without_user_json(object, id)`: the pseudonym where the row's own raw id stands in another field.
Texts that hold no personal data, nearly all, are told by a pattern that DuckDB checks itself; only the others go through Python.
"""

import json
import re
from functools import lru_cache

import duckdb

from ecomrec.contract import EVENTS, PERSONAL
from ecomrec.privacy import pii
from ecomrec.privacy.pseudonyms import Pseudonyms
from ecomrec.privacy.traces import MIN_WORD, UserField

REMEMBERED = 100_000  # texts; the same query comes often
PLAIN = frozenset((name,) for name in EVENTS.fields if name not in PERSONAL)


def prepare(connection: duckdb.DuckDBPyConnection, keys: Pseudonyms, field: UserField = UserField(), plain: frozenset[tuple[str, ...]] = PLAIN) -> None:  # noqa: B008 - frozen
    """Makes the functions. `plain`: paths of what tells of no person, in the shop's own names."""
    keys.prepare(connection)
    connection.create_function("scrub_text", lru_cache(REMEMBERED)(pii.scrub), ["VARCHAR"], "VARCHAR")
    connection.create_function("scrub_object", pii.scrub_json, ["VARCHAR"], "VARCHAR")
    connection.create_function("scrubbed_refusal", lambda payload: refusal(payload, keys, field, plain), ["VARCHAR"], "VARCHAR")
    connection.create_function("hide_user", lambda text, raw: _without(text, raw, keys.of(raw)), ["VARCHAR", "VARCHAR"], "VARCHAR")
    holds = f"{len(keys.keys)} > 0 AND length(id) >= {MIN_WORD} AND contains(CAST(t AS VARCHAR), id)"
    for name, condition, then in (("scrubbed(t)", f"regexp_matches(CAST(t AS VARCHAR), '{pii.MAYBE}')", "scrub_text(CAST(t AS VARCHAR))"),
                                  ("scrubbed_json(t)", f"regexp_matches(CAST(t AS VARCHAR), '{pii.MAYBE}')", "scrub_object(CAST(t AS VARCHAR))"),
                                  ("without_user(t, id)", holds, "replace(CAST(t AS VARCHAR), id, pseudonym(id))"),
                                  ("without_user_json(t, id)", holds, "hide_user(CAST(t AS VARCHAR), id)")):
        connection.execute(f"CREATE OR REPLACE TEMPORARY MACRO {name} AS CASE WHEN {condition} THEN {then} ELSE CAST(t AS VARCHAR) END")


def refusal(payload: str, keys: Pseudonyms, field: UserField, plain: frozenset[tuple[str, ...]] = PLAIN) -> str:
    """A refused row as it may be kept: its user id a pseudonym, its texts scrubbed. Of a row without a user id only what is `plain`, as
    the id may stand in a field that nobody has mapped yet; of all else in it, and of a line that is no JSON object, where nobody can
    tell what is what, only the outline: letters as `a`, digits as `9`."""
    try:
        row = json.loads(payload)
        if isinstance(row, dict):
            return pii.scrub_json(_disguised(row, keys, field, plain) if keys.keys else pii.dump(row))
    except (ValueError, RecursionError):
        pass
    return outline(payload) if keys.keys else pii.scrub(payload)


def _disguised(row: dict, keys: Pseudonyms, field: UserField, plain: frozenset[tuple[str, ...]]) -> str:
    if raw := field.of(row):
        field.put(row, keys.of(raw))
        shown = pii.dump(row)
        return _without(shown, raw, keys.of(raw)) if len(raw) >= MIN_WORD else shown
    hidden: set[str] = set()
    shown = pii.dump(_outlined(row, plain, (), hidden))
    for text in sorted(hidden, key=len, reverse=True):  # event_id may be made of the user's
        shown = _without(shown, text, outline(text))
    return shown


def _outlined(value, plain: frozenset[tuple[str, ...]], path: tuple[str, ...], hidden: set[str]):
    """The outline of everything in `value` that is not at one of the paths `plain`; `hidden` learns what could have been an id."""
    match value:
        case dict():
            return {name: _outlined(part, plain, (*path, name), hidden) for name, part in value.items()}
        case list():
            return [_outlined(part, plain, (*path, ""), hidden) for part in value]
        case bool() | None:
            return value
    if path in plain:
        return value
    text = str(value)
    if len(text) >= MIN_WORD and re.search(r"[\d@]", text):
        hidden.add(text)
    return outline(text)


def outline(text: str) -> str:
    """The shape of a text without what it says."""
    return re.sub(r"\d", "9", re.sub(r"[^\W\d_]", "a", text))


def _without(text: str, raw: str, pseudonym: str) -> str:
    """A JSON text with the pseudonym wherever the raw id stands among its values."""
    return pii.rewrite(text, lambda value: value.replace(raw, pseudonym), lambda number: pseudonym if number == raw else number)
