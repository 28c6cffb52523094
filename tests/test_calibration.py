"""Temperature, calibration error and detectors on cases whose answer is known."""

import numpy as np
import pytest

from ecomrec import calibration
from ecomrec.models.answers import Calibration, answer, familiarity, probabilities

NAMES = ["Dairy/Milk", "Dairy/Cheese", "Home/Soap"]


def test_overconfident_logits_are_cooled():
    random = np.random.default_rng(1)
    honest = random.normal(size=(4000, 3))
    chances = probabilities(honest, Calibration())
    target = np.array([random.choice(3, p=row) for row in chances])
    weight = np.ones(len(target))
    assert calibration.temperature(3 * honest, target, weight, "softmax") == pytest.approx(3, rel=0.1)
    cooled = probabilities(3 * honest, Calibration(temperature=3.0))
    right = (cooled.argmax(1) == target).astype(float)
    assert calibration.expected_error(cooled.max(1), right, weight) < 0.03 < calibration.expected_error(probabilities(3 * honest, Calibration()).max(1), right, weight)


def test_what_chance_alone_makes_of_perfect_calibration():
    random = np.random.default_rng(1)
    confidence, weight = random.uniform(0.2, 1, 600), random.integers(1, 9, 600).astype(float)
    drawn = [calibration.expected_error(confidence, random.random(600) < confidence, weight) for _ in range(400)]
    assert calibration.error_by_chance(confidence, weight) == pytest.approx(np.mean(drawn), rel=0.03)


def test_sigmoid_probabilities_are_independent():
    found = probabilities(np.array([[0.0, 2.0, -2.0]]), Calibration(link="sigmoid"))
    assert found[0] == pytest.approx([0.5, 0.8808, 0.1192], abs=1e-4)


def test_auroc_of_known_orders():
    assert calibration.auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert calibration.auroc(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == 0.0
    assert calibration.auroc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5
    assert calibration.auroc(np.array([]), np.array([1.0])) == 0.5


def test_the_best_detector_is_chosen():
    near, far = np.eye(2, dtype=np.float32)[[0] * 10], np.eye(2, dtype=np.float32)[[1] * 10]
    same = np.zeros((10, 3), dtype=np.float32)  # logits that tell nothing
    chosen, least, scores = calibration.detector((same, near), (same, far), near[:3], 0.97)
    assert chosen == "knn" and scores["knn"] == 1.0 and scores["energy"] == 0.5
    assert least == pytest.approx(1.0)
    with pytest.raises(ValueError, match="neighbours"):
        familiarity(same, near, None, "knn")


@pytest.mark.parametrize(("chances", "said", "probability"), [
    ([0.7, 0.2, 0.1], "Dairy/Milk", 0.7),      # sure of the leaf
    ([0.45, 0.40, 0.15], "Dairy", 0.85),       # sure of the parent only
])
def test_an_unsure_leaf_backs_off_to_its_parent(chances, said, probability):
    [found] = answer(np.array([chances]), np.array([1.0]), NAMES, Calibration())
    assert (found.category, found.probability) == (said, pytest.approx(probability))
    assert found.likely[0] == ("Dairy/Milk", pytest.approx(chances[0]))


def test_independent_chances_of_many_leaves_are_no_sum():
    many = [f"A/{number}" for number in range(60)] + ["B/x"]
    [found] = answer(np.array([[0.01] * 60 + [0.48]]), np.array([1.0]), many, Calibration(link="sigmoid"))
    assert (found.category, found.probability) == ("B", pytest.approx(0.48))
    [found] = answer(np.array([[0.4, 0.3] + [0.0] * 58 + [0.48]]), np.array([1.0]), many, Calibration(link="sigmoid"))
    assert (found.category, found.probability) == ("A", pytest.approx(1 - 0.6 * 0.7))


def test_nothing_sure_gives_the_likeliest_root_and_a_stranger_unknown():
    four = ["A/x", "B/x", "C/x", "C/y"]
    [found] = answer(np.array([[0.3, 0.3, 0.2, 0.2]]), np.array([1.0]), four, Calibration())
    assert (found.category, found.probability) == ("C", pytest.approx(0.4))
    [found] = answer(np.array([[0.9, 0.05, 0.05, 0.0]]), np.array([0.1]), four, Calibration(least=0.5))
    assert found.category == "unknown" and found.probability == 0.0
