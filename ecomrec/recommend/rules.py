"""The shop's rules: one TOML file, checked as a whole when it is loaded. A rule that cannot have an effect is an error, not silence.

`ecomrec/recipes/recommend.toml` is the default and documents every key. ECOMREC_RULES names the shop's own.
"""

import hashlib
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ecomrec import database
from ecomrec.errors import SettingsError
from ecomrec.recommend.catalogue import Catalogue
from ecomrec.settings import Settings

DEFAULT = Path(__file__).parents[1] / "recipes" / "recommend.toml"
HOME = "home"  # the context that analytics.user_recommendations shows
Names = Annotated[list[str], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Match(_Strict):
    """Which items: all that fit every key that is given. A list means any of them; a category includes everything below it."""

    category: Names | None = None
    brand: Names | None = None
    item: Names | None = None
    tag: Names | None = None
    campaign: Names | None = None
    price_from: float | None = None
    price_to: float | None = None

    @field_validator("category", "brand", "item", "tag", "campaign", mode="before")
    @classmethod
    def _one_is_a_list(cls, value):
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _prices(self):
        if self.price_from is not None and self.price_to is not None and self.price_from > self.price_to:
            raise ValueError(f"no price is from {self.price_from} to {self.price_to}")
        return self

    def mask(self, catalogue: Catalogue) -> np.ndarray:
        """bool [I]: the items of the serving catalogue that fit."""
        found = np.ones(len(catalogue), dtype=bool)
        none = np.zeros(len(catalogue), dtype=bool)
        for key, of in (("category", catalogue.below), ("brand", lambda name: (catalogue.brands == name)[catalogue.brand] & (catalogue.brand >= 0)),
                        ("item", lambda name: catalogue.ids == name), ("tag", lambda name: catalogue.tags.get(name, none)),
                        ("campaign", lambda name: catalogue.campaigns.get(name, none))):
            if (names := getattr(self, key)) is not None:
                found &= np.logical_or.reduce([of(name) for name in names])
        with np.errstate(invalid="ignore"):
            if self.price_from is not None:
                found &= catalogue.price >= self.price_from
            if self.price_to is not None:
                found &= catalogue.price <= self.price_to
        return found

    def names(self) -> list[tuple[str, str]]:
        """(key, name) of everything that the catalogue must have."""
        return [(key, name) for key in ("category", "brand", "item", "tag", "campaign") for name in getattr(self, key) or ()]


class Rule(Match):
    """One wish of the shop."""

    name: str = Field(min_length=1)
    do: Literal["exclude", "include", "boost", "bury", "pin", "cap", "block"]
    first: date | None = Field(None, alias="from")
    last: date | None = Field(None, alias="to")
    contexts: Names | None = None
    segments: Names | None = None
    strength: float | None = Field(None, gt=0, le=100)
    place: int | None = Field(None, ge=1)
    at_most: int | None = Field(None, ge=1)
    per: Literal["category", "brand"] | None = None
    when_bought: Match | None = None

    @model_validator(mode="after")
    def _possible(self):
        if self.first and self.last and self.first > self.last:
            raise ValueError(f"it would hold from {self.first} to {self.last}: never")
        needs = {"boost": {"strength"}, "bury": {"strength"}, "pin": {"place"}, "cap": {"at_most", "per"}, "block": {"when_bought"}}.get(self.do, set())
        for key in ("strength", "place", "at_most", "per", "when_bought"):
            if (getattr(self, key) is not None) != (key in needs):
                raise ValueError(f"{self.do} {'needs' if key in needs else 'does not take'} `{key}`")
        if self.do == "pin" and (self.item is None or len(self.item) != 1):
            raise ValueError("pin needs `item`, exactly one")
        if self.do in ("block", "cap") and (self.contexts or (self.do == "block" and self.segments)):
            raise ValueError(f"{self.do} holds everywhere: it takes no `contexts`" + (" or `segments`" if self.do == "block" else ""))
        if self.do not in ("cap",) and not any(getattr(self, key) is not None for key in Match.model_fields):
            raise ValueError(f"{self.do} of everything: say which items (category, brand, item, tag, campaign, price_from, price_to)")
        return self

    def holds(self, day: date) -> bool:
        """True on days from `from` to `to`."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


class Repeat(Match):
    """When an item may be shown again after the user bought (or saw) it."""

    again: Annotated[int, Field(ge=1)] | Literal["always", "never"]
    after: Literal["bought", "seen"] = "bought"


class Context(_Strict):
    """A recipe for one kind of list over the same scores."""

    source: Literal["all", "bought", "not_bought", "last_basket", "category"] = "all"
    length: int = Field(0, ge=0)
    groups: int = Field(3, ge=1)
    minimum: int = Field(1, ge=0)
    fallback: Literal["popular", "none"] = "popular"
    diversity: Share = 0.0
    calibration: float = Field(0.0, ge=0)
    explore: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    per_category: int = Field(0, ge=0)
    per_brand: int = Field(0, ge=0)


class Rules(_Strict):
    """The whole file."""

    candidates: int = Field(200, ge=10)
    reserve: int = Field(50, ge=0)
    contexts: dict[str, Context]
    repeat: list[Repeat] = []
    rules: list[Rule] = []

    @model_validator(mode="after")
    def _whole(self):
        if HOME not in self.contexts:
            raise ValueError(f"contexts.{HOME} is missing: it is the list that every user gets")
        if self.reserve >= self.candidates:
            raise ValueError(f"reserve {self.reserve} must be less than candidates {self.candidates}")
        names = [rule.name for rule in self.rules]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two rules have the name {twice!r}; the report counts by name")
        for rule in self.rules:
            for context in rule.contexts or ():
                if context not in self.contexts:
                    raise ValueError(f"rule {rule.name!r} names the context {context!r}; there are {', '.join(self.contexts)}")
        pins: dict[tuple, str] = {}
        for rule in self.rules:
            if rule.do != "pin":
                continue
            for context in rule.contexts or self.contexts:
                for segment in rule.segments or ("",):
                    other = pins.setdefault((context, segment, rule.place), rule.name)
                    if other != rule.name:
                        raise ValueError(f"rules {other!r} and {rule.name!r} both pin place {rule.place} of {context}")
        return self


def load(settings: Settings) -> Rules:
    """The rules of the settings. Raises SettingsError naming the file, the rule and the key."""
    path = settings.rules or DEFAULT
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"ECOMREC_RULES={path}: there is no such file", f"copy {DEFAULT} and change it, or leave the setting empty") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}", "mend that line") from error
    try:
        rules = Rules.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SettingsError(f"{path}: {_place(found, first['loc'])}{_meaning(first)}", f"see the comments of {DEFAULT}") from error
    for rule in rules.rules:
        for name in (rule.contexts or rules.contexts) if rule.do == "pin" else ():
            if rule.place > (rules.contexts[name].length or settings.list_length):
                raise SettingsError(f"{path}: rule {rule.name!r} pins place {rule.place}, but a list of {name} has "
                                    f"{rules.contexts[name].length or settings.list_length}", "lower `place`, or lengthen the list")
    return rules


def digest(settings: Settings) -> str:
    """Fingerprint of the rules in force and of the settings that change lists."""
    text = load(settings).model_dump_json() + f"/{settings.list_length}/{settings.exclude_bought}/{settings.segment_field}/{settings.seed}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check(connection, rules: Rules) -> None:
    """Raises SettingsError naming a category, brand, item, tag or campaign in `rules` that the shop's catalogue does not have."""
    asked = [(f"rule {rule.name!r}", *pair) for rule in rules.rules for match in (rule, rule.when_bought) if match for pair in match.names()]
    asked += [(f"repeat number {number}", *pair) for number, repeat in enumerate(rules.repeat, 1) for pair in repeat.names()]
    wheres, keys, names = (list(column) for column in zip(*asked, strict=True)) if asked else ([], [], [])
    for row in database.query(connection, "recommend/unknown_names", {"wheres": wheres, "keys": keys, "names": names}):
        raise SettingsError(f"{row['place']}: no product has {row['key']} {row['name']!r}",
                            "correct the name, or take the rule out; categories are paths as in core.items.category, levels separated by /")


def _place(found: dict, where: tuple) -> str:
    """'rule "x", key y: ' for pydantic's location."""
    parts, at = [], found
    for key in where:
        at = at[key] if isinstance(at, dict) and key in at else at[key] if isinstance(at, list) and isinstance(key, int) and key < len(at) else None
        if isinstance(key, int):
            parts[-1:] = [f"rule {at['name']!r}" if isinstance(at, dict) and "name" in at else f"{parts[-1] if parts else 'entry'} number {key + 1}"]
        else:
            parts.append(str(key))
    return ", ".join(parts) + ": " if parts else ""


def _meaning(error: dict) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    return error["msg"].removeprefix("Value error, ") + (f" (it says {error['input']!r})" if not isinstance(error["input"], dict | Rule) else "")
