"""The DuckDB query that turns a shop's rows into rows of the contract: parse once, map, check, keep.

    payload → object → the shop's fields → the contract's fields as text → (arriving) → typed, with a reason when refused

Each row is parsed as JSON once. Its text is kept only when it is refused.
"""

import json
import re

from ecomrec.contract import Contract
from ecomrec.ingest.mapping import EPOCHS, Mapping, Rule, steps
from ecomrec.settings import Settings

NUL = r"(^|[^\\])(\\\\)*\\u0000"  # the escape itself, not an escaped backslash before u0000; Postgres cannot store the character
DEEPEST = 500  # levels of a row's JSON; Postgres and Python give up at some thousands
MARK = "\x02"  # begins a line that `mend` has set aside: mark, reason, mark, the line's beginning


def too_deep(text: str) -> bool:
    """True when the text nests objects and arrays deeper than DEEPEST. The DuckDB function that `projection` uses."""
    depth = 0
    for bracket in re.findall(r"[\[{}\]]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            return True
    return False


def arriving(contract: Contract, name: str, expression: str) -> str:
    """What a field's text becomes on its way in, before anything of it is kept: THE place where personal data is transformed.

    `name`: a field of the contract (`user_id`, `query`, …), the `context` or `attributes` object with the fields that the
    contract does not know, `reason`, or `payload`, the text of a refused row. `expression`: SQL for the text; returns SQL for
    a text. The functions are those of `ecomrec.privacy.arriving`.
    """
    if contract.kind != "events":
        return expression
    return {"user_id": f"pseudonym({expression})",
            "event_id": f"without_user({expression}, user_id)", "session_id": f"without_user({expression}, user_id)",
            "query": f"scrubbed(without_user({expression}, user_id))", "context": f"scrubbed_json(without_user_json({expression}, user_id))",
            "reason": f"scrubbed({expression})", "payload": f"scrubbed_refusal({expression})"}.get(name, expression)


def projection(settings: Settings, contract: Contract, mapping: Mapping, source: str, every: int) -> str:
    """SELECT of `day, file, <fields>, reason, dropped, payload, shape` over `source` (`day DATE, file INTEGER, payload VARCHAR`).

    `reason`: why the row is refused, `dropped`: why the mapping leaves it out; both NULL: a good row. `payload` is kept
    for refused rows; `shape` is the row's JSON structure, of one row in `every`.
    """
    columns = {path: f"_{number}" for number, path in enumerate(mapping.used())}
    # Names of a struct are the same in any case, names in JSON are not: what differs only in case is taken out by itself.
    seen: dict[str, str] = {}
    inside = {path for path in columns if seen.setdefault(path.lower(), path) == path}
    shape = _shape(dict.fromkeys(inside, "VARCHAR"))
    # Two paths may share a beginning, so the struct is nested and taken apart by name.
    reached = ", ".join(f"{_reach(path) if path in inside else f'json_extract_string(object, {_quote(_pointer(path))})'} AS {column}" for path, column in columns.items())
    texts = ", ".join(f"{_text(contract, mapping, name, columns)} AS {name}" for name in contract.fields if name != contract.rest)
    arrived = ", ".join(f"{arriving(contract, name, name)} AS {name}" for name in contract.fields)
    typed = ", ".join(_typed(contract, mapping, name) for name in contract.fields)
    dropped = _cases([(_when(rule, columns), _quote(rule.reason)) for rule in mapping.drop])
    return f"""
        SELECT day, file, {typed}, CASE WHEN dropped IS NULL THEN {arriving(contract, 'reason', 'reason')} END AS reason, dropped,
               CASE WHEN dropped IS NULL AND reason IS NOT NULL THEN {arriving(contract, 'payload', 'shown')} END AS payload,
               CASE WHEN object IS NOT NULL AND hash(payload) % {every} = 0 THEN json_structure(object)::VARCHAR END AS shape
        FROM (SELECT *, CASE WHEN set_aside IS NOT NULL THEN set_aside
                             WHEN contains(payload, '\\u0000') AND regexp_matches(payload, '{NUL}') THEN 'holds a NUL character (\\u0000)'
                             ELSE {contract.reason()} END AS reason,
                     replace(CASE WHEN payload[1] = '{MARK}' THEN split_part(payload, '{MARK}', 3) ELSE coalesce(payload, '') END, chr(0), '\\u0000') AS shown
              FROM (SELECT day, file, payload, object, set_aside, dropped, {arrived}
                    FROM (SELECT day, file, payload, object, set_aside, {dropped} AS dropped, {texts}, {_rest(contract, mapping, columns)} AS {contract.rest}
                          FROM (SELECT day, file, payload, object, set_aside, {reached}
                                FROM (SELECT *, json_transform(object, '{shape}') AS found
                                      FROM (SELECT day, file, payload, CASE WHEN payload[1] = '{MARK}' THEN split_part(payload, '{MARK}', 2)
                                                                           WHEN strlen(payload) > {2 * DEEPEST} AND too_deep(payload) THEN 'is nested deeper than {DEEPEST} levels' END AS set_aside,
                                                   CASE WHEN set_aside IS NULL AND ltrim(payload)[1] = '{{' AND json_valid(payload) THEN payload END AS object
                                            FROM ({source})))))))"""


def _shape(paths: dict[str, str]) -> str:
    """The structure that json_transform takes, as SQL text: nested like the dotted paths."""
    return json.dumps(_nested(paths)).replace("'", "''")


def _nested(paths: dict[str, str | None]) -> dict:
    tree: dict = {}
    for path, leaf in paths.items():
        *above, last = steps(path)
        node = tree
        for step in above:
            node = node.setdefault(step, {})
        node[last] = leaf
    return tree


def _reach(path: str) -> str:
    return "found" + "".join(f"[{_quote(step)}]" for step in steps(path))


def _pointer(path: str) -> str:
    """A path as a JSON pointer (RFC 6901)."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps(path))


def _text(contract: Contract, mapping: Mapping, name: str, columns: dict[str, str]) -> str:
    """SQL: our field as text, NULL when it is missing or empty."""
    sources = [columns[path] for path in mapping.sources(name)]
    # Joined fields may be empty one by one, but not all: 'A1//2' is an id, '//' is none.
    joined = f"concat_ws({_quote(mapping.join)}, " + ", ".join(f"coalesce({column}, '')" for column in sources) + ")"
    text = (f"nullif({sources[0]}, '')" if len(sources) == 1 else
            f"CASE WHEN concat({', '.join(sources)}) <> '' THEN {joined} END")
    if name == "event_type" and mapping.names:
        text = f"coalesce({_cases([(f'{text} = {_quote(theirs)}', _quote(ours)) for theirs, ours in mapping.names.items()])}, {text})"
    if contract.fields[name].type == "time":
        text = _time(mapping, text)
    if name in mapping.absolute:
        text = f"ltrim({text}, '-')"
    if name in mapping.defaults:
        text = f"coalesce({text}, {_quote(mapping.defaults[name])})"
    rules = [(_when(rule, columns), _quote(rule.set[name])) for rule in mapping.set if name in rule.set]
    return f"CASE {' '.join(f'WHEN {condition} THEN {value}' for condition, value in rules)} ELSE {text} END" if rules else text


def _time(mapping: Mapping, text: str) -> str:
    """SQL: a time as ISO 8601 in UTC. What cannot be read stays as it came, and is then refused with its own words."""
    if not mapping.time_format and mapping.time_zone == "UTC":
        return text
    if mapping.time_format in EPOCHS:
        instant = f"make_timestamp(CAST(try_cast({text} AS DOUBLE) * {1_000_000 // EPOCHS[mapping.time_format]} AS BIGINT))"
        return f"coalesce(TRY(strftime({instant}, '%Y-%m-%dT%H:%M:%S.%fZ')), {text})"  # a number of another unit may be beyond all times
    parsed = f"try_strptime({text}, {_quote(mapping.time_format)})" if mapping.time_format else f"try_cast({text} AS TIMESTAMP)"
    zoned = "%z" in mapping.time_format
    instant = f"try_cast({parsed} AS TIMESTAMPTZ)" if zoned else f"timezone({_quote(mapping.time_zone)}, {parsed})"
    # Without a format, a time that names its zone means that zone.
    if not mapping.time_format:
        instant = f"CASE WHEN regexp_matches({text}, '([zZ]|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$') AND contains({text}, ':') THEN try_cast({text} AS TIMESTAMPTZ) ELSE {instant} END"
    return f"coalesce(strftime({instant}, '%Y-%m-%dT%H:%M:%S.%fZ'), {text})"


def _rest(contract: Contract, mapping: Mapping, columns: dict[str, str]) -> str:
    """SQL: the object field, with every field of the row that the contract and the mapping do not know; NULL when there is nothing."""
    (source,) = mapping.sources(contract.rest)
    # A CSV file carries the object as text, and json_transform gives an object as text too. What is neither is refused as no object.
    given = columns[source]
    own = f"CASE WHEN {given} = '' THEN NULL WHEN json_valid({given}) THEN {given}::JSON ELSE to_json({given}) END"
    gone = mapping.consumed()
    # Of a nested field only the mapped leaf is taken out, so a row that has one is never "all known".
    known = [path for path in gone if len(steps(path)) == 1]
    names = ", ".join(_quote(steps(path)[0]) for path in known)
    paths = ", ".join(_quote(_pointer(path)) for path in known)
    without = _quote(json.dumps(_nested(dict.fromkeys(gone))))
    return f"""CASE WHEN object IS NULL THEN NULL
                    WHEN len(json_keys(object)) = list_sum(json_exists(object, [{paths}])::INTEGER[]) THEN {own}
                    WHEN len(list_filter(json_keys(object), lambda k: k NOT IN ({names}))) = 0 THEN {own}
                    ELSE json_merge_patch(coalesce({own}, '{{}}'), json_merge_patch(object, {without})) END"""


def _typed(contract: Contract, mapping: Mapping, name: str) -> str:
    kind = contract.fields[name]
    return name if kind.duckdb in ("VARCHAR", "JSON") else f"try_cast({name} AS {kind.duckdb}) AS {name}"


def _when(rule: Rule, columns: dict[str, str]) -> str:
    return " AND ".join(f"regexp_matches(coalesce({columns[source]}, ''), {_quote(pattern)})" for source, pattern in rule.when.items())


def _cases(cases: list[tuple[str, str]]) -> str:
    return "CASE " + " ".join(f"WHEN {condition} THEN {value}" for condition, value in cases) + " END" if cases else "CAST(NULL AS VARCHAR)"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
