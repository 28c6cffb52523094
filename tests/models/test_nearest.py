"""Approximate search: scores of some items are those of all, and what the index leads to is what scoring everything finds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from ecomrec.compression import search
from ecomrec.models import Histories, Recency, itemitem, kernels, nearest, serving
from ecomrec.models.topn import top
from ecomrec.recommend.scores import Scores

ITEMS, DIM, DAY = 3000, 16, 60
random = np.random.default_rng(7)


def people(users: int = 40) -> Histories:
    sizes = random.integers(0, 30, users)
    sizes[3] = 0
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    days = np.concatenate([np.sort(random.integers(0, DAY, size)) for size in sizes]).astype(np.int32)
    return Histories(offsets, random.integers(0, ITEMS, offsets[-1]).astype(np.int32), days, days * np.int64(86400), np.ones(offsets[-1], dtype=np.float32))


@pytest.fixture(scope="module")
def model() -> serving.Sequential:
    """Items of a hundred kinds, as those of a shop are; the encoder is the mean of the newest positions."""
    table = (random.normal(size=(100, DIM))[random.integers(0, 100, ITEMS)] + 0.4 * random.normal(size=(ITEMS, DIM))).astype(np.float32)
    popularity = (1 / np.arange(1, ITEMS + 1)).astype(np.float32)
    weights = sparse.random(ITEMS, ITEMS, density=0.01, random_state=1, dtype=np.float32, format="csr")
    weights.data -= np.float32(0.2)  # some speak against
    ids = np.array([f"i{number}" for number in range(ITEMS)])

    def encode(vectors: np.ndarray, days: np.ndarray, last: np.ndarray) -> np.ndarray:
        return vectors.sum(axis=1) / (last + 1)[:, None].astype(np.float32)

    found = serving.Sequential(ids, table, np.log(popularity) / 4, popularity, encode, 20, 20.0, np.full(ITEMS, 0.5, dtype=np.float32), 1.5, 3.0, 0.4,
                               itemitem.ItemItem(ids, weights, Recency(30.0), popularity), 0.4, 0.8, 0.3)
    return replace(found, index=nearest.build(found.tall, 1, 1000))  # reads all cells


def test_scores_of_some_items_are_those_of_all(model):
    given = people()
    vectors, whole = model.vectors(given), model.score(given, DAY)
    items = np.sort(random.integers(0, ITEMS, (len(given), 200)), axis=1).astype(np.int32)
    some = model.score_some(given, DAY, items, vectors)
    distinct = np.ones(items.shape, dtype=bool)
    distinct[:, 1:] = items[:, 1:] != items[:, :-1]  # an item that is named again is a place to spare
    assert np.allclose(some[distinct], np.take_along_axis(whole, items, axis=1)[distinct], atol=1e-3)


def test_the_strongest_of_a_sparse_product_are_found():
    rows = sparse.random(30, 200, density=0.1, random_state=3, dtype=np.float32, format="csr")
    weights = sparse.random(200, 200, density=0.1, random_state=4, dtype=np.float32, format="csr")
    weights.data -= np.float32(0.4)
    allowed = random.random(200) < 0.7
    found = kernels.strongest(rows.indptr, rows.indices, rows.data, weights.indptr, weights.indices, weights.data, allowed, 12)
    dense = np.where(allowed, (rows @ weights).toarray(), -1)
    for user, values in enumerate(dense):
        best = [item for item in np.argsort(-values, kind="stable")[:12] if values[item] > 0]
        assert set(found[user][found[user] >= 0]) == set(best)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.002])
def test_what_is_found_is_the_best_of_what_is_allowed(model, share):
    given = people(60)
    vectors, whole = model.vectors(given), model.score(given, DAY)
    allowed = random.random(ITEMS) < share
    bought = nearest.padded(given.offsets, given.items)
    model = replace(model, index=replace(model.index, depth=8))
    found = model.nearest(given, DAY, 20, vectors, None if share == 1 else allowed)
    assert share == 1 or allowed[found[found >= 0]].all()
    whole[np.repeat(np.arange(len(given)), np.diff(given.offsets)), given.items] = -np.inf
    wanted = top(np.where(allowed, whole, -np.inf).astype(np.float32), 20)[0]
    assert nearest.found_of(wanted, np.concatenate((found, bought), axis=1)) > 0.97


def test_an_index_reads_as_many_cells_as_the_recall_takes(model, tmp_path):
    given, said = people(80), []
    facts = search.fit(model, given, DAY, 1, 0.9, tmp_path, said.append)
    assert facts["recall"] >= 0.9 and 0 < facts["probes"] <= facts["cells"]
    loaded = replace(model, index=nearest.load(tmp_path / nearest.FILE, facts["probes"], facts["depth"]))
    vectors = model.vectors(given)
    assert (search.best(loaded, given, DAY, vectors, 20) == search.best(replace(model, index=nearest.load(tmp_path / nearest.FILE, facts["probes"], facts["depth"])), given, DAY, vectors, 20)).all()
    deeper = search.fit(model, given, DAY, 1, 0.99, tmp_path, said.append)
    assert deeper["recall"] >= 0.99 and (deeper["probes"], deeper["depth"]) > (facts["probes"], facts["depth"])
    assert len(said) == 2 and "cells hold" in said[0]


def test_where_no_index_is_good_enough_everything_is_scored(model, tmp_path):
    said = []
    facts = search.fit(model, people(), DAY, 1, 1.1, tmp_path, said.append)
    assert facts["probes"] == 0 and "less than 110%" in facts["why"] and not (tmp_path / nearest.FILE).exists()
    assert search.fit(model, people().take(np.array([3])), DAY, 1, 0.9, tmp_path, said.append)["why"].startswith("no user")


def test_the_same_seed_makes_the_same_index(model, tmp_path):
    for name in ("one", "other"):
        nearest.save(tmp_path / name, nearest.build(model.tall, 5))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_pool_that_holds_everything_is_the_whole():
    users, items = 9, 50
    values = random.normal(size=(users, items)).astype(np.float32)
    pool = np.concatenate((np.tile(np.arange(items, dtype=np.int32), (users, 1)), np.full((users, 3), items - 1, dtype=np.int32)), axis=1)
    whole = Scores(values.copy(), items)
    some = Scores(np.concatenate((values, np.full((users, 3), -np.inf, dtype=np.float32)), axis=1), items, pool)
    mask, rows = random.random(items) < 0.4, np.array([1, 4, 5])
    user, item = np.nonzero(random.random((users, items)) < 0.1)

    def same(one, other):
        assert all((a == b).all() for a, b in zip(one, other, strict=True)) if isinstance(one, tuple) else (one == other).all()

    for told in (lambda s: s.best(mask), lambda s: s.best(mask, rows), lambda s: s.of(user, item), lambda s: s.drop(user, item) or s.top(7),
                 lambda s: s.close(mask, rows) or s.top(7), lambda s: s.add(np.arange(items, dtype=np.float32)) or s.top(7), lambda s: s.top(7, mask),
                 lambda s: s.of(user, item), lambda s: s.best(~mask)):
        same(told(whole), told(some))


def test_what_is_not_in_a_pool_scores_nothing():
    some = Scores(np.zeros((2, 2), dtype=np.float32), 9, np.array([[1, 3], [0, 8]], dtype=np.int32))
    user, item = np.array([0, 0, 1, 1]), np.array([3, 4, 8, 1])
    assert np.isneginf(some.of(user, item)).tolist() == [False, True, False, True]
    some.drop(user, item)
    assert np.isneginf(some.values).tolist() == [[False, True], [False, True]]
