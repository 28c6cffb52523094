"""Products that the model has not learned: who lends them a score."""

import numpy as np
import pytest

from ecomrec.models import newcomers

KNOWN = ["acme blue mug", "zenith red kettle", "acme green pan", "plain spoon"]


def unit(*rows):
    rows = np.array(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_of_two_equally_near_the_one_that_shares_a_rare_word_lends_more():
    places, parts = newcomers.lenders(unit([1, 0], [1, 0], [0, 1], [0, 1]), unit([1, 0.2]), KNOWN, ["zenith toaster"])
    assert places[0, :2].tolist() == [1, 0] and parts[0, 0] > 1.2 * parts[0, 1] and parts.sum() == pytest.approx(1)
    borrowed = np.array([[0.0, 1.0, 5.0, 5.0]], dtype=np.float32) @ newcomers.borrowing(places, parts, 4)
    assert borrowed.shape == (1, 1) and 0.5 < borrowed[0, 0] < 1.1, "those that are unlike it lend next to nothing"


def test_without_a_common_word_and_with_nothing_alike_every_score_is_a_mean():
    places, parts = newcomers.lenders(unit([1, 0], [1, 0]), unit([-1, 0], [0, 1]), ["one", "two"], ["three", ""])
    assert sorted(places[0].tolist()) == [0, 1] and np.allclose(parts, 0.5), "of two known ones both lend, though neither is like it"
    assert newcomers.borrowing(places, parts, 2).toarray().tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_blocks_are_no_other_answer(monkeypatch):
    random = np.random.default_rng(1)
    known, new = unit(*random.normal(size=(60, 8))), unit(*random.normal(size=(25, 8)))
    texts = [f"word{n % 7} thing{n % 5}" for n in range(85)]
    whole = newcomers.lenders(known, new, texts[:60], texts[60:])
    monkeypatch.setattr(newcomers, "CELLS", 180)
    parts = newcomers.lenders(known, new, texts[:60], texts[60:])
    assert (whole[0] == parts[0]).all() and np.allclose(whole[1], parts[1], atol=1e-6) and whole[0].shape == (25, newcomers.NEIGHBOURS)
