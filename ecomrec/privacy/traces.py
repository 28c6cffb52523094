"""What somebody can be found by: the raw id and every pseudonym that a key ever made of it."""

import re
from dataclasses import dataclass
from functools import cached_property

from ecomrec.privacy.pseudonyms import SHAPE, Pseudonyms

ERASED = "<erased>"
MIN_WORD = 6  # characters


@dataclass(frozen=True)
class UserField:
    """Where a row of the shop's logs holds its user id, in the shop's own names: a path, or several whose values are joined."""

    paths: tuple[tuple[str, ...], ...] = (("user_id",),)
    join: str = "/"

    def of(self, row: dict) -> str:
        """The raw id of a row; empty when it has none."""
        parts = [self._at(row, path) for path in self.paths]
        return self.join.join(parts) if any(parts) else ""

    def put(self, row: dict, value: str) -> None:
        """Writes `value` wherever a part of the id stands."""
        for path in self.paths:
            if self._at(row, path):
                inner = row
                for step in path[:-1]:
                    inner = inner[step]
                inner[path[-1]] = value

    @staticmethod
    def _at(row, path: tuple[str, ...]) -> str:
        for step in path:
            row = row.get(step) if isinstance(row, dict) else None
        return "" if row is None else str(row)


@dataclass(frozen=True)
class Traces:
    """Of one or several persons. `ids` holds all forms of all of them, `pseudonyms` what the tables hold now."""

    ids: frozenset[str]
    pseudonyms: frozenset[str]

    @cached_property
    def unmistakable(self) -> list[str]:
        """The ids that nothing else can look like: searched for everywhere."""
        return sorted(found for found in self.ids if SHAPE.fullmatch(found))

    @cached_property
    def words(self) -> list[str]:
        """Raw ids that are searched for in texts, as whole words. One that is short or an ordinary word ("12", "samsung") would be found
        by chance in what other people wrote: such ones are looked for only where user ids stand."""
        return sorted(found for found in self.ids - set(self.unmistakable) if len(found) >= MIN_WORD and re.search(r"[\d@]", found))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Any of them in a text, as a whole word."""
        found = sorted((*self.unmistakable, *self.words), key=len, reverse=True)
        return re.compile(rf"(?<![0-9A-Za-z])(?:{'|'.join(map(re.escape, found))})(?![0-9A-Za-z])" if found else r"(?!)")

    @property
    def disguised(self) -> "Traces":
        """The same without raw ids: for databases where these could mean something else."""
        return Traces(frozenset(self.unmistakable), self.pseudonyms)

    @cached_property
    def parameters(self) -> dict:
        """For sql/privacy: `ids`, `everywhere` (LIKE patterns) and `words` (a regular expression of Postgres, or None)."""
        likes = ["%" + found.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%") + "%" for found in self.unmistakable]
        words = "|".join(re.sub(r"([^0-9A-Za-z])", r"\\\1", found) for found in self.words)
        return {"ids": sorted(self.ids), "pseudonyms": sorted(self.pseudonyms), "everywhere": likes, "words": rf"(?<![0-9A-Za-z])(?:{words})(?![0-9A-Za-z])" if words else None}

    def blank(self, value):
        """`value` (text, or what JSON and arrays are made of) with ERASED in place of each id."""
        match value:
            case str():
                return self.pattern.sub(ERASED, value)
            case bool() | float() | None:
                return value
            case int():
                return ERASED if str(value) in self.words else value
            case list():
                return [self.blank(part) for part in value]
            case dict():
                return {self.blank(name): self.blank(part) for name, part in value.items()}
        return value


def of(pseudonyms: Pseudonyms, users: list[str]) -> Traces:
    """The traces of `users`, each a raw id or a pseudonym."""
    ids, now = set(), set()
    for user in users:
        known = pseudonyms.keys and SHAPE.fullmatch(user)
        forms = [user] if known else pseudonyms.versions(user)
        ids.update(forms)
        now.add(forms[-1])
    return Traces(frozenset(ids), frozenset(now))
