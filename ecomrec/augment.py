"""Variations of a training query: typing errors, dropped and swapped words, synonyms, and a hook for back-translation.

Each is switched by the recipe (`[augment]` in recipes/query_classifier.toml); a query gets at most one of them.
Easy data augmentation: Wei & Zou 2019.
"""

import random
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

from ecomrec.errors import SettingsError
from ecomrec.queries import misspell, normalise


class Augmenter:
    """Calls give a variation of a query, or the query itself. Seeded by `source`: the same calls give the same texts."""

    def __init__(self, rules: dict, source: random.Random):
        self._rules, self._source = rules, source
        self._synonyms = synonyms(Path(rules["synonyms_file"])) if rules["synonyms_file"] else {}
        self._translate = hook(rules["back_translation"]) if rules["back_translation"] else None

    def __call__(self, query: str) -> str:
        chance = self._source.random()
        for name, change in (("typos", self._mistype), ("drop", self._drop), ("swap", self._swap), ("synonyms", self._replace), ("translated", self._back)):
            if chance < self._rules[name]:
                return change(query) or query
            chance -= self._rules[name]
        return query

    def _mistype(self, query: str) -> str:
        once = misspell(query, self._source)
        return misspell(once, self._source) if self._source.random() < self._rules["second_typo"] else once

    def _drop(self, query: str) -> str:
        words = query.split()
        if len(words) > 1:
            del words[self._source.randrange(len(words))]
        return " ".join(words)

    def _swap(self, query: str) -> str:
        words = query.split()
        if len(words) > 1:
            place = self._source.randrange(len(words) - 1)
            words[place], words[place + 1] = words[place + 1], words[place]
        return " ".join(words)

    def _replace(self, query: str) -> str:
        words = query.split()
        known = [place for place, word in enumerate(words) if word in self._synonyms]
        if known:
            place = self._source.choice(known)
            words[place] = self._source.choice(self._synonyms[words[place]])
        return " ".join(words)

    def _back(self, query: str) -> str:
        return normalise(self._translate(query)) if self._translate else query


def synonyms(path: Path) -> dict[str, list[str]]:
    """Word → words of the same meaning, from lines like `sofa, couch, settee`. Raises SettingsError for a file that is not there."""
    if not path.is_file():
        raise SettingsError(f"augment.synonyms_file = {path}: no such file", "name a text file with one group of synonyms a line, separated by commas")
    groups = [[normalise(word) for word in line.split(",") if normalise(word)] for line in path.read_text(encoding="utf-8").splitlines()]
    return {word: [other for other in group if other != word] for group in groups if len(group) > 1 for word in group}


def hook(name: str) -> Callable[[str], str]:
    """The function `package.module:function`, which takes a query and gives it back in other words (a local translation model, say)."""
    module, _, function = name.partition(":")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"augment.back_translation = {name}: {error}", "write it as package.module:function") from error


def whole_words(vocabulary: Iterable[str], least: int) -> list[str]:
    """The words among an encoder's pieces of at least `least` letters, ascending; of a script that writes words in few characters, two will do."""
    found = {piece.removeprefix("\u2581") for piece in vocabulary}
    return sorted(word for word in found if word.isalpha() and len(word) >= (2 if word[0] > "\u2e7f" else least))


def background(vocabulary: dict[str, int], shop: set[str], number: int, source: random.Random) -> list[str]:
    """`number` queries of one to three words that the encoder knows and the shop never used: what an out-of-shop query looks like.

    They stand in for the queries of people in the wrong shop, of which no log tells (outlier exposure, Hendrycks et al. 2019).
    """
    words = sorted(set(whole_words(vocabulary, 4)) - shop)
    return [" ".join(source.choice(words) for _ in range(source.choice((1, 1, 2, 3)))) for _ in range(number)] if words else []
