"""The contract with the shop, once: what an event and a product are (docs/data-contract.md explains it to people).

A row is checked where it is parsed, in DuckDB: first what every field of its type must be, then the rules of the kind.
The first reason that holds is the one told.
"""

from dataclasses import dataclass

EVENT_TYPES = ("search", "impression", "click", "cart", "purchase", "remove")
NEEDS_ITEM = ("click", "cart", "purchase", "remove", "impression")  # event types that mean nothing without an item
NEEDS_QUERY = ("search",)
PERSONAL = ("user_id", "session_id", "query", "context")  # what tells of a person, or may
LONGEST_ID = 500  # bytes; a B-tree of Postgres refuses keys above 2,704, and no real id comes near either
NO_JSON = "[nN][aA][nN]|[iI][nN][fF]"  # outside of texts only NaN and Infinity look so: DuckDB reads them, Postgres does not
QUOTED = r'"(?:[^"\\]|\\.)*"'  # a text or a name in JSON
LARGEST = 1_000_000_000_000  # of a price or quantity; sums of products stay exact


@dataclass(frozen=True)
class Field:
    """One field. `type`: id, text, number, whole, time, flag or object; `needed`: a row without it is refused."""

    type: str
    needed: bool = False

    @property
    def duckdb(self) -> str:
        """The DuckDB type that it is kept as."""
        return {"id": "VARCHAR", "text": "VARCHAR", "number": "DOUBLE", "whole": "INTEGER", "time": "TIMESTAMPTZ", "flag": "BOOLEAN", "object": "JSON"}[self.type]


@dataclass(frozen=True)
class Contract:
    """A kind of rows: `events` or `catalog`.

    `key`: the field that is unique within a day. `rest`: the object field that unknown fields are put into.
    `rules`: (condition, reason) in DuckDB's SQL over the text fields and `day`; a reason is an expression.
    """

    kind: str
    key: str
    rest: str
    fields: dict[str, Field]
    rules: tuple[tuple[str, str], ...]

    def reason(self) -> str:
        """SQL: why a row is refused, NULL for a good one. Over the text fields by name, `object` (the parsed row) and `day`."""
        cases = [("object IS NULL", "'not a JSON object'")]
        cases += [(f"{name} IS NULL", f"'{name} is missing'") for name, field in self.fields.items() if field.needed]
        cases += self.rules
        for name, field in self.fields.items():
            if field.type == "id":
                cases.append((f"strlen({name}) > {LONGEST_ID}", f"'{name} is longer than {LONGEST_ID} bytes'"))
            if field.type == "number":
                cases.append((f"{name} IS NOT NULL AND NOT coalesce(isfinite(try_cast({name} AS DOUBLE)), false)", f"'{name} is not a number: ' || {name}"))
                cases.append((f"abs(try_cast({name} AS DOUBLE)) > {LARGEST}", f"'{name} is beyond {LARGEST:,}: ' || {name}"))
            if field.type == "whole":
                cases.append((f"{name} IS NOT NULL AND try_cast({name} AS INTEGER) IS NULL", f"'{name} is not a whole number: ' || {name}"))
            if field.type == "flag":
                cases.append((f"{name} IS NOT NULL AND try_cast({name} AS BOOLEAN) IS NULL", f"'{name} is not true or false: ' || {name}"))
            if field.type == "time":
                cases.append((f"{name} IS NOT NULL AND try_cast({name} AS TIMESTAMPTZ) IS NULL", f"'{name} is not a time: ' || {name}"))
            if field.type == "object":
                cases.append((f"{name} IS NOT NULL AND json_type({name}) <> 'OBJECT'", f"'{name} is not an object'"))
                text = f"CAST({name} AS VARCHAR)"
                cases.append((f"regexp_matches({text}, '{NO_JSON}') AND regexp_matches(regexp_replace({text}, '{QUOTED}', '', 'g'), '{NO_JSON}')",
                              f"'{name} holds NaN or Infinity, which JSON does not know'"))
        return "CASE " + " ".join(f"WHEN {condition} THEN {reason}" for condition, reason in cases) + " END"


EVENTS = Contract("events", key="event_id", rest="context", fields={
    "event_id": Field("id", needed=True), "user_id": Field("id", needed=True), "event_type": Field("text", needed=True),
    "event_time": Field("time", needed=True), "session_id": Field("id"), "item_id": Field("id"), "query": Field("text"),
    "position": Field("whole"), "price": Field("number"), "quantity": Field("number"), "context": Field("object"),
}, rules=(
    (f"event_type NOT IN {EVENT_TYPES}", "'unknown event_type ' || event_type"),
    # A day's folder may hold what other time zones call the day before or after, and nothing else.
    ("abs(date_diff('day', day, try_cast(event_time AS TIMESTAMPTZ)::DATE)) > 1", "'event_time is not of this day: ' || event_time"),
    (f"event_type IN {NEEDS_ITEM} AND item_id IS NULL", "'item_id is missing'"),
    (f"event_type IN ('{NEEDS_QUERY[0]}') AND query IS NULL", "'query is missing'"),
))

CATALOG = Contract("catalog", key="item_id", rest="attributes", fields={
    "item_id": Field("id", needed=True), "title": Field("text"), "description": Field("text"), "category": Field("text"), "brand": Field("text"),
    "price": Field("number"), "currency": Field("text"), "image_url": Field("text"), "attributes": Field("object"), "in_stock": Field("flag"),
    "updated_at": Field("time"), "deleted": Field("flag"),
}, rules=(
    ("coalesce(try_cast(deleted AS BOOLEAN), false) = false AND title IS NULL", "'title is missing'"),
    ("coalesce(try_cast(deleted AS BOOLEAN), false) = false AND coalesce(trim(category, '/ '), '') = ''", "'category is missing'"),
))

CONTRACTS = {contract.kind: contract for contract in (EVENTS, CATALOG)}
