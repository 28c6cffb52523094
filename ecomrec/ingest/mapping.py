"""A shop's own field names, event names and time format, in one TOML file; no code (docs/data-contract.md shows one).

The file becomes part of the DuckDB query that parses the shop's rows, so mapping costs next to nothing.
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ecomrec.contract import CONTRACTS, PERSONAL
from ecomrec.errors import InputError, SettingsError
from ecomrec.privacy.traces import UserField
from ecomrec.settings import Settings
from ecomrec.store import open_store

KEYS = {"fields", "join", "defaults", "names", "time_format", "time_zone", "absolute", "ignore", "set", "drop"}
EPOCHS = {"unix": 1, "unix_ms": 1000}
REMEDY = "mend the file; `ecomrec check-mapping FILE SAMPLE` shows what it makes of a sample"


@dataclass(frozen=True)
class Rule:
    """What happens to rows whose fields (the shop's names) all match the regular expressions in `when`."""

    when: dict[str, str]
    set: dict[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Mapping:
    """One kind's section of the file. Empty: the shop uses the contract's own names.

    `fields`: ours → theirs, a dotted path or several that are joined; `names`: their event name → ours; `absolute`: our
    number fields whose sign is dropped; `ignore`: their fields that must not reach the rest (`context`, `attributes`).
    """

    kind: str
    name: str = ""
    fields: dict[str, tuple[str, ...]] = field(default_factory=dict)
    join: str = "/"
    defaults: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    time_format: str = ""
    time_zone: str = "UTC"
    absolute: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    set: tuple[Rule, ...] = ()
    drop: tuple[Rule, ...] = ()

    def sources(self, ours: str) -> tuple[str, ...]:
        """Their fields that our field is made of."""
        return self.fields.get(ours, (ours,))

    def used(self) -> list[str]:
        """All their fields that are looked at, each once."""
        rules = [name for rule in (*self.set, *self.drop) for name in rule.when]
        return list(dict.fromkeys([source for ours in CONTRACTS[self.kind].fields for source in self.sources(ours)] + rules))

    def consumed(self) -> list[str]:
        """Their fields that do not go to the rest: the mapped ones and the ignored ones."""
        mapped = [source for ours in CONTRACTS[self.kind].fields for source in self.sources(ours)]
        return list(dict.fromkeys([*mapped, *self.ignore]))


def steps(path: str) -> list[str]:
    """A dotted path in parts; `\\.` is a dot within a name."""
    return [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path)]


def user_field(mapping: Mapping) -> UserField:
    """Where the shop's rows hold the user id."""
    return UserField(tuple(tuple(steps(path)) for path in mapping.sources("user_id")), mapping.join)


def plain_fields(mapping: Mapping) -> frozenset[tuple[str, ...]]:
    """Where the shop's rows hold what the contract knows and tells of no person. An id that is joined may be of a person's id."""
    return frozenset(tuple(steps(path)) for ours in CONTRACTS[mapping.kind].fields if ours not in PERSONAL for path in mapping.sources(ours)
                     if len(mapping.sources(ours)) == 1 or CONTRACTS[mapping.kind].fields[ours].type != "id")


def load_mapping(settings: Settings, kind: str) -> Mapping:
    """The mapping that the settings name: a local file, or a key of the object store."""
    if not settings.mapping:
        return Mapping(kind)
    path = Path(settings.mapping)
    if path.is_file():
        return read(path.read_text(encoding="utf-8"), kind, settings.mapping)
    if text := open_store(settings).read_text(settings.mapping):
        return read(text, kind, settings.mapping)
    raise SettingsError(f"ECOMREC_MAPPING names {settings.mapping!r}, which is neither a file nor a key of {settings.store}",
                        "give the path of a TOML file, or leave it empty when the shop uses the contract's own names")


def read(text: str, kind: str, name: str) -> Mapping:
    """Parses the file's text and checks every word of it. Raises InputError naming the key that is wrong."""
    def wrong(message: str) -> InputError:
        return InputError(f"{name}: {message}", REMEDY)

    try:
        whole = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise wrong(f"is not TOML: {error}") from None
    if unknown := set(whole) - set(CONTRACTS):
        raise wrong(f"[{min(unknown)}] is not a kind of rows; use {' and '.join(f'[{kind}]' for kind in CONTRACTS)}")
    section, known = whole.get(kind, {}), CONTRACTS[kind].fields
    if unknown := set(section) - KEYS:
        raise wrong(f"[{kind}] has the unknown key {min(unknown)!r}; known ones: {', '.join(sorted(KEYS))}")

    def ours(where: str, names) -> None:
        for one in names:
            if one not in known:
                raise wrong(f"[{kind}.{where}] names {one!r}, which is no field of the contract: {', '.join(known)}")

    def texts(where: str, table: dict) -> dict[str, str]:
        if not isinstance(table, dict) or not all(isinstance(value, str | int | float | bool) for value in table.values()):
            raise wrong(f"[{kind}.{where}] must be a table of texts")
        return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in table.items()}

    def rules(where: str, needs: str) -> tuple[Rule, ...]:
        found = []
        for number, one in enumerate(section.get(where, []), 1):
            if set(one) != {"when", needs}:
                raise wrong(f"[[{kind}.{where}]] number {number} must have `when` and `{needs}`, and nothing else")
            when = texts(f"{where}.when", one["when"])
            for source, pattern in when.items():
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise wrong(f"[[{kind}.{where}]] number {number}: {source} = {pattern!r} is not a regular expression: {error}") from None
            if needs == "set":
                ours("set", one["set"])
                found.append(Rule(when, set=texts("set", one["set"])))
            else:
                found.append(Rule(when, reason=str(one["reason"])))
        return tuple(found)

    fields = {}
    for one, source in section.get("fields", {}).items():
        ours("fields", [one])
        fields[one] = (source,) if isinstance(source, str) else tuple(map(str, source))
    for where in ("defaults", "absolute"):
        ours(where, section.get(where, ()))
    for one in section.get("absolute", ()):
        if known[one].type not in ("number", "whole"):
            raise wrong(f"[{kind}] absolute names {one!r}, which is no number")
    zone = section.get("time_zone", "UTC")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise wrong(f"[{kind}] time_zone {zone!r} is not a zone; write it like Europe/Berlin") from None
    found = Mapping(kind, name, fields, str(section.get("join", "/")), texts("defaults", section.get("defaults", {})), texts("names", section.get("names", {})),
                   str(section.get("time_format", "")), zone, tuple(section.get("absolute", ())), tuple(section.get("ignore", ())),
                   rules("set", "set"), rules("drop", "reason"))
    paths = [tuple(steps(path)) for path in found.used()]
    for path in paths:
        for other in paths:
            if path != other and other[:len(path)] == path:
                raise wrong(f"[{kind}] uses both {'.'.join(path)!r} and {'.'.join(other)!r}, a field within it")
    return found
