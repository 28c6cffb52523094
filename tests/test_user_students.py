"""Students of the user encoder, part by part; tests/test_recommender.py runs them as a stage of training."""

import numpy as np
import pytest
import torch

from ecomrec.compression import user_students
from ecomrec.errors import InputError
from ecomrec.models import tables
from ecomrec.models.sequential import UserEncoder


def grid(dim: int = 16) -> user_students.Grid:
    torch.manual_seed(3)
    return torch.randn(6, 9, dim), torch.randint(0, 40, (6, 9)).sort(dim=1).values, torch.ones(6, 9, dtype=torch.bool)


def test_scores_that_need_few_dimensions_are_kept_whole_in_as_many():
    random = np.random.default_rng(1)
    table, states = random.normal(size=(50, 4)) @ random.normal(size=(4, 12)), 3 + random.normal(size=(200, 12))
    found = user_students.space(table.astype(np.float32), states.astype(np.float32), np.ones(50), 4)
    assert np.allclose(((states - found.centre) @ found.users) @ (table @ found.items).T + table @ found.centre, states @ table.T, atol=2e-3) and found.kept == pytest.approx(1)
    assert found.worth.mean() == pytest.approx(1) and (np.diff(found.worth) <= 0).all()


def test_what_sells_more_is_placed_better():
    random = np.random.default_rng(2)
    table, states = random.normal(size=(40, 8)).astype(np.float32), random.normal(size=(300, 8)).astype(np.float32)

    def apart(weight: np.ndarray) -> np.ndarray:
        found = user_students.space(table, states, weight, 4)
        return np.square(((states - found.centre) @ found.users) @ (table @ found.items).T - (states - found.centre) @ table.T).mean(axis=0)

    sold = np.where(np.arange(40) < 4, 1000.0, 1.0)
    assert apart(sold)[:4].mean() < 0.1 * apart(np.ones(40))[:4].mean()


@pytest.mark.parametrize("dim", [0, 16, 20])
def test_dimensions_that_are_no_fewer_are_told(dim):
    with pytest.raises(InputError, match=f"dim = {dim}, and the trained model has 16"):
        user_students.space(np.ones((5, 16), dtype=np.float32), np.ones((5, 16), dtype=np.float32), np.ones(5), dim)


def test_the_block_that_does_nothing_goes():
    torch.manual_seed(1)
    encoder = UserEncoder(16, 2, 3, 0.0).eval()
    with torch.no_grad():
        for part in (encoder.blocks[1].out, encoder.blocks[1].mlp[2]):
            part.weight.zero_()
            part.bias.zero_()
    small, kept = user_students.fewer(encoder, 2, [grid()])
    assert kept == [0, 2] and len(encoder.blocks) == 3
    vectors, days, _ = grid()
    with torch.inference_mode():
        assert torch.allclose(small(vectors, days), encoder(vectors, days), atol=1e-6)
    with pytest.raises(InputError, match="blocks = 3, and the trained encoder has 3"):
        user_students.fewer(encoder, 3, [grid()])


def test_of_a_narrow_encoder_the_newest_position_is_the_same_answer():
    torch.manual_seed(2)
    small = user_students.narrow(UserEncoder(16, 2, 2, 0.1), 8).eval()
    vectors, days, _ = grid(8)
    last = torch.tensor([8, 0, 3, 7, 5, 1])
    with torch.inference_mode():
        assert torch.allclose(small(vectors, days, last), small(vectors, days)[torch.arange(6), last], atol=1e-5)
    with pytest.raises(InputError, match="dim = 7, and 2 heads share it"):
        user_students.narrow(UserEncoder(16, 2, 2, 0.1), 7)


@pytest.mark.parametrize("int8", [False, True])
def test_tables_are_read_as_they_were_written(tmp_path, int8):
    random = np.random.default_rng(4)
    table = random.normal(size=(30, 8)).astype(np.float32) * random.lognormal(size=(30, 1)).astype(np.float32)
    table[7] = 0  # an item that nobody bought and whose text says nothing
    columns = {"item_ids": np.array([f"i{n}" for n in range(30)]), **{name: random.normal(size=30).astype(np.float32) for name in ("bias", "again", "popularity")}}
    given = tables.save(tmp_path / tables.FILE, table, columns, int8)
    found = tables.load(tmp_path / tables.FILE)
    assert np.array_equal(found["table"], given) and found["table"].dtype == np.float32
    assert all(np.array_equal(found[name], values) for name, values in columns.items())
    assert (np.abs(given - table) <= (np.abs(table).max(axis=1, keepdims=True) / 254 + 1e-7 if int8 else 0)).all()
