"""The recommender's text encoder: it learns what is bought after what, whatever the words say, and only the transformer reads what it then says."""

import numpy as np
import pytest
import torch

from ecomrec import recommender, text_tuning
from ecomrec.errors import EcomrecError
from ecomrec.models.sequential import baskets
from ecomrec.settings import Settings
from ecomrec.text import encode

FIRST = ("razor", "kettle", "guitar", "tent", "laptop", "bicycle", "candle", "aquarium")
THEN = ("shaving foam", "green tea", "set of strings", "sleeping bag", "usb hub", "spare tube", "box of matches", "fish food")
TEXTS = [*FIRST, *THEN]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(_env_file=None, home=tmp_path_factory.mktemp("home"), threads=2)


@pytest.fixture(scope="module")
def shop():
    """Each user buys one thing and, days later, what belongs to a thing by chance: the words cannot tell which."""
    random, belongs = np.random.default_rng(1), np.random.default_rng(2).permutation(len(FIRST))
    first = random.integers(0, len(FIRST), 400)
    items = np.stack((first, len(FIRST) + belongs[first]), axis=1).ravel().astype(np.int32)
    days = np.tile(np.array([1, 5], dtype=np.int32), 400)
    return baskets(np.arange(0, 801, 2), items, days, np.ones(800, dtype=np.float32)), len(FIRST) + belongs


def rules(**changes):
    section = recommender.recipe()["text"]
    return {**section, "tune": {**section["tune"], "pairs": 480, "batch": 16, "learning_rate": 3e-4, **changes}}


def found(vectors, belongs):
    """Of how many first things the nearest of the others is what belongs to it."""
    return np.mean((vectors[:len(FIRST)] @ vectors[len(FIRST):].T).argmax(axis=1) == belongs - len(FIRST))


@pytest.mark.parametrize("changes", [{}, {"lora_rank": 8, "learning_rate": 3e-3}], ids=["top layers", "adapters"])
def test_what_is_bought_later_comes_near(settings, shop, changes):
    given, belongs = shop
    said = []
    tuned = text_tuning.encode(settings, TEXTS, given, rules(**changes), said.append)
    assert found(encode(TEXTS, settings.encoder, 32), belongs) < 0.5 and found(tuned, belongs) == 1
    assert np.allclose(np.linalg.norm(tuned, axis=1), 1, atol=1e-5) and "pairs/s" in said[-1]


def test_the_same_seed_gives_the_same_vectors(settings, shop):
    few = rules(pairs=64)
    one, other = (text_tuning.encode(settings, TEXTS, shop[0], few, lambda _: None) for _ in range(2))
    assert (one == other).all() and (text_tuning.encode(settings.model_copy(update={"seed": 7}), TEXTS, shop[0], few, lambda _: None) != one).any()


def test_pairs_are_of_neighbouring_baskets_of_one_user_and_of_two_items():
    given = baskets(np.array([0, 4, 5, 7]), np.array([0, 1, 2, 2, 3, 4, 4], dtype=np.int32), np.array([1, 1, 2, 3, 9, 4, 8], dtype=np.int32), np.ones(7, dtype=np.float32))
    left, right = text_tuning.draw(given, 500, np.random.default_rng(0))
    assert {*zip(left.tolist(), right.tolist(), strict=True)} == {(0, 2), (1, 2)}, "2 then 2 and 4 then 4 are the same again, and the user of 3 never came back"
    lonely = baskets(np.array([0, 1, 2]), np.array([0, 1], dtype=np.int32), np.array([1, 2], dtype=np.int32), np.ones(2, dtype=np.float32))
    assert [len(side) for side in text_tuning.draw(lonely, 10, np.random.default_rng(0))] == [0, 0]


def test_a_shop_where_nobody_came_twice_keeps_the_encoder_and_says_so(settings):
    lonely, said = baskets(np.array([0, 1, 2]), np.array([0, 1], dtype=np.int32), np.array([1, 2], dtype=np.int32), np.ones(2, dtype=np.float32)), []
    assert np.allclose(text_tuning.encode(settings, TEXTS, lonely, rules(), said.append), encode(TEXTS, settings.encoder, 32), atol=1e-5)
    assert "stays as it is" in said[-1]


def test_a_loss_that_is_no_number_stops_with_the_setting(settings, shop, monkeypatch):
    monkeypatch.setattr(text_tuning.F, "cross_entropy", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(EcomrecError, match="no longer a number") as stopped:
        text_tuning.encode(settings, TEXTS, shop[0], rules(), lambda _: None)
    assert "learning_rate" in stopped.value.remedy
