"""A search is kept in Postgres, begins with the recipe, goes on where it was left and survives a trial that fails."""

from unittest import mock

import numpy as np
import pytest

from ecomrec import recommender, tuning
from ecomrec.errors import EcomrecError, InputError


@pytest.fixture
def space(monkeypatch):
    """A space of two numbers; training is replaced by its known best, which takes no time: what is tested is the search."""
    rules = recommender.recipe()
    rules["search"] = {"sequential.dropout": {"low": 0.0, "high": 0.9}, "sequential.dim": {"choices": [32, 64]}}
    tried = []

    def train(settings, dataset, folder, echo, changed):
        own = changed["sequential"]
        tried.append((own["dropout"], own["dim"], own["by_user"]["dropout"]))
        if len(tried) == 2:
            raise EcomrecError("the loss is no longer a number in epoch 1, step 3", "lower learning_rate")
        return {"valid_ndcg10": float(np.round(1 - abs(own["dropout"] - 0.5), 5))}

    monkeypatch.setattr(recommender, "recipe", lambda: rules)
    monkeypatch.setattr(recommender, "train", train)
    return rules, tried


def test_a_search_goes_on_where_it_was_left(shop, space, tmp_path):
    rules, tried = space
    said = []
    (tmp_path / "meta.json").write_text("{}")
    first = tuning.search(shop, tmp_path, "shop", 3, said.append)
    assert tried[0][:2] == (rules["sequential"]["dropout"], rules["sequential"]["dim"]) and first["trials"] == 3
    assert first["recipe_ndcg10"] == pytest.approx(1 - abs(rules["sequential"]["dropout"] - 0.5)) and tried[1][0] == tried[1][2]
    second = tuning.search(shop, tmp_path, "shop", 2, said.append)
    assert second["trials"] == 5 and any("3 trials are there" in line for line in said) and second["best_ndcg10"] >= first["best_ndcg10"]
    assert rules["sequential"]["dropout"] == recommender.recipe()["sequential"]["dropout"]  # the recipe itself is not touched
    for change in ({"search": {**rules["search"], "sequential.dim": {"choices": [16, 64]}}}, {"frequency": {"half_life": [1.0]}}):
        with mock.patch.dict(rules, change), pytest.raises(InputError, match="another recipe"):
            tuning.search(shop, tmp_path, "shop", 1, said.append)
    (tmp_path / "meta.json").write_text('{"day": "2026-11-26"}')
    with pytest.raises(InputError, match="the study shop was begun with another recipe, search space, day or seed"):
        tuning.search(shop, tmp_path, "shop", 1, said.append)
