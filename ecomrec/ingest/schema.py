"""The shop's fields as they came, and how they differ from the load before: named before anything is loaded."""

import json
from dataclasses import dataclass, field

from ecomrec.contract import Contract
from ecomrec.ingest.mapping import Mapping, steps

TYPES = {"VARCHAR": "text", "BOOLEAN": "flag", "UBIGINT": "number", "BIGINT": "number", "HUGEINT": "number", "DOUBLE": "number", "NULL": "null"}
ANY = "untyped"  # what CSV has
COMMON = 0.01  # share of the rows from which on a field's absence is worth a word


@dataclass(frozen=True)
class Changes:
    """What is different, in words. `fatal`: a field that the contract needs is gone or of another type."""

    told: list[str] = field(default_factory=list)
    fatal: list[str] = field(default_factory=list)


def describe(shapes: list[tuple[str, bool, int]]) -> dict[str, dict]:
    """`{field: {"types": [...], "share": 0-1}}` from `(JSON structure, whether it has types, rows)`; null and missing are the same."""
    rows, found = sum(count for _, _, count in shapes), {}
    for shape, typed, count in shapes:
        for name, kind in json.loads(shape).items():
            said = "object" if isinstance(kind, dict) else "list" if isinstance(kind, list) else TYPES.get(kind, "object")
            if said != "null":
                seen = found.setdefault(name, {"types": set(), "share": 0})
                seen["types"].add(said if typed else ANY)
                seen["share"] += count
    return {name: {"types": sorted(seen["types"]), "share": round(seen["share"] / rows, 4)} for name, seen in sorted(found.items())}


def compare(contract: Contract, mapping: Mapping, before: dict[str, dict] | None, now: dict[str, dict]) -> Changes:
    """Differences from `before` (None: the first load) to `now`. Only top-level fields are compared."""
    changes = Changes()
    if not before or not now:
        return changes
    needed = {steps(source)[0]: name for name, kind in contract.fields.items() if kind.needed for source in mapping.sources(name)}
    for name in sorted(before.keys() | now.keys()):
        was, is_now = before.get(name), now.get(name)
        if was is None:
            changes.told.append(f"new field {name} ({'/'.join(is_now['types'])})")
        elif is_now is None:
            if was["share"] >= COMMON:
                (changes.fatal if name in needed else changes.told).append(f"field {name} is missing" + _role(name, needed))
        elif ANY not in (*was["types"], *is_now["types"]) and not set(was["types"]) & set(is_now["types"]):
            # A field that may be empty is only told: a value that is no number is refused by the contract, row by row.
            (changes.fatal if name in needed else changes.told).append(
                f"field {name} was {'/'.join(was['types'])} and is {'/'.join(is_now['types'])}" + _role(name, needed))
    return changes


def _role(name: str, roles: dict[str, str]) -> str:
    return f" (the source of {roles[name]})" if name in roles and roles[name] != name else ""
