"""Variations of training queries: each switch does what it says, seeded, and never makes a query vanish."""

import random

import pytest

from ecomrec import augment
from ecomrec.errors import SettingsError

OFF = {"typos": 0.0, "second_typo": 0.0, "drop": 0.0, "swap": 0.0, "synonyms": 0.0, "synonyms_file": "", "translated": 0.0, "back_translation": ""}


def shout(query: str) -> str:
    """What a local translation model would be."""
    return query.upper() + "!"


def made(query: str, **rules) -> set[str]:
    change = augment.Augmenter({**OFF, **rules}, random.Random(1))
    return {change(query) for _ in range(60)}


def test_without_switches_nothing_changes():
    assert made("red shoes") == {"red shoes"}


def test_drop_and_swap_work_on_words():
    assert made("red running shoes", drop=1.0) == {"running shoes", "red shoes", "red running"}
    assert made("red running shoes", swap=1.0) == {"running red shoes", "red shoes running"}
    assert made("shoes", drop=1.0, swap=0.0) == {"shoes"}


def test_typos_stay_near():
    found = made("running", typos=0.5)
    assert "running" in found and len(found) > 5 and all(abs(len(text) - 7) <= 1 for text in found)


def test_synonyms_and_back_translation_come_from_the_recipe(tmp_path):
    (tmp_path / "words.txt").write_text("sofa, couch\n\nlonely\n")
    assert made("red sofa", synonyms=1.0, synonyms_file=str(tmp_path / "words.txt")) == {"red couch"}
    assert made("red sofa", translated=1.0, back_translation="tests.test_augment:shout") == {"red sofa!"}


@pytest.mark.parametrize(("rules", "what"), [({"synonyms_file": "/nowhere.txt"}, "synonyms_file"), ({"back_translation": "nothing"}, "back_translation")])
def test_a_wrong_recipe_is_said(rules, what):
    with pytest.raises(SettingsError, match=what):
        augment.Augmenter({**OFF, **rules}, random.Random(1))


def test_background_words_are_not_the_shops():
    vocabulary = {"milk": 0, "##ing": 1, "bishop": 2, "▁parliament": 3, "x1": 4, "the": 5}
    found = augment.background(vocabulary, {"milk"}, 50, random.Random(1))
    assert len(found) == 50 and {word for text in found for word in text.split()} == {"bishop", "parliament"}
    assert augment.background({"milk": 0}, {"milk"}, 5, random.Random(1)) == []
