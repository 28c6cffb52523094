"""One suite for every recommender. The toy shop is a checkerboard: even users buy even items, odd users odd ones.

After benfred/implicit's test for every model: the right answer is known by construction. Each user has never bought one item
of their colour; it must come before every item of the other colour.
"""

import json
import shutil

import numpy as np
import pytest
import torch

from ecomrec import artifact, trainer
from ecomrec.compression import graph
from ecomrec.errors import AuditFailed
from ecomrec.models import (
    Histories,
    Recency,
    als,
    decayed_counts,
    ease,
    frequency,
    histories,
    itemitem,
    loading,
    popularity,
    serving,
    standin,
)
from ecomrec.models.sequential import Sequential, baskets

USERS, ITEMS, DAYS = 60, 12, 12
RECIPE = {"dim": 16, "heads": 2, "blocks": 1, "dropout": 0.0, "repeat_scale": 20.0, "learning_rate": 0.01, "weight_decay": 0.0, "adversarial": 0.0, "compile": False,
          "identity_dropout": 0.0, "label_smoothing": 0.0, "groups": [], "positions": 128, "targets": 4, "negatives": 64, "epochs": 12, "patience": 12}
IDS = np.array([f"item{number:02}" for number in range(ITEMS)])


def missing(user):
    """The one item of the user's colour that they never bought."""
    return 2 * ((user // 2) % (ITEMS // 2)) + user % 2


def checkerboard() -> Histories:
    random = np.random.default_rng(1)
    rows = [(user, item, day) for user in range(USERS) for day in range(DAYS)
            for item in random.permutation([i for i in range(user % 2, ITEMS, 2) if i != missing(user)])[:3]]
    user, item, day = (np.array(column) for column in zip(*rows, strict=True))
    return histories(user, item.astype(np.int32), day.astype(np.int32), day * 86400, np.ones(len(user), dtype=np.float32), np.arange(USERS), ITEMS)


def save_popularity(folder, given):
    popularity.save(folder, popularity.Popularity(IDS, np.bincount(given.items, minlength=ITEMS).astype(np.float32)))
    return "popularity"


def item_item(weights) -> itemitem.ItemItem:
    return itemitem.ItemItem(IDS, weights, Recency(30.0), np.bincount(checkerboard().items, minlength=ITEMS).astype(np.float32))


def save_ease(folder, given):
    itemitem.save(folder, item_item(ease.fit(ease.gram(decayed_counts(given, DAYS, 60, ITEMS)), 1.0)))
    return "itemitem"


def save_sparse_ease(folder, given):
    rows = decayed_counts(given, DAYS, 60, ITEMS)
    itemitem.save(folder, item_item(ease.fit_sparse(rows.T @ rows, 1.0, ITEMS // 2 - 1)))
    return "itemitem"


def save_knn(folder, given):
    itemitem.save(folder, item_item(itemitem.knn(decayed_counts(given, DAYS, 60, ITEMS), 5, 1.0)))
    return "itemitem"


def save_als(folder, given):
    counts = decayed_counts(given, DAYS, 60, ITEMS)
    als.save(folder, als.Als(IDS, als.fit(counts, 4, 2.0, 0.1, 15, seed=1, threads=1), 2.0, 0.1, Recency(30.0), np.bincount(given.items, minlength=ITEMS).astype(np.float32)))
    return "als"


def save_frequency(folder, given):
    frequency.save(folder, frequency.Frequency(IDS, 30.0, np.bincount(given.items, minlength=ITEMS).astype(np.float32)))
    return "frequency"


def save_sequential(folder, given):
    torch.manual_seed(1)
    torch.set_num_threads(2)
    counts = np.bincount(given.items, minlength=ITEMS)
    model = Sequential(torch.zeros(ITEMS, 4), torch.from_numpy(counts), RECIPE)
    held = baskets(given.offsets, given.items, given.days, given.weights)
    owner = np.repeat(np.arange(USERS), np.diff(held.users))
    ends = np.searchsorted(owner * 1000 + held.days, owner * 1000 + held.days + 7, side="right")
    epochs = iter(range(99))
    trainer.fit(model, trainer.Task(held, ends, counts / counts.sum(), 30.0), RECIPE, 1, lambda _: next(epochs) / 99, folder / "training", folder / "training/epoch.pt", print)
    model.eval()
    shutil.rmtree(folder / "training")
    axes = {"vectors": {0: "users", 1: "baskets"}, "days": {0: "users", 1: "baskets"}, "last": {0: "users"}, "states": {0: "users"}}
    example = torch.zeros(2, 3, 16), torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    graph.export(model.encoder, example, folder / "encoder.onnx", ["vectors", "days", "last"], ["states"], axes)
    np.savez(folder / "tables.npz", item_ids=IDS, table=model.item_vectors().detach().numpy(), bias=model.bias.detach().numpy(),
             again=model.propensity().detach().numpy(), popularity=counts.astype(np.float32))
    save_ease(folder / "linear", given)
    weight, scale, share = model.habit()
    (folder / "config.json").write_text(json.dumps({"encoder": "encoder.onnx", "max_baskets": 100, "half_life": 30.0, "repeat": weight,
                                                    "scale": scale, "share": share, "blend": 0.3, "readiness": 1.0, "trend": 0.1, "by_event": False}))
    served = serving.sequential(folder, json.loads((folder / "config.json").read_text()))
    standin.fit(served, given, 1).save(folder)
    return "sequential"


SAVERS = {"popularity": save_popularity, "frequency": save_frequency, "knn": save_knn, "ease": save_ease, "sparse_ease": save_sparse_ease, "als": save_als,
          "sequential": save_sequential}


@pytest.fixture(scope="module", params=SAVERS)
def folder(request, tmp_path_factory):
    place = tmp_path_factory.mktemp(request.param)
    kind = SAVERS[request.param](place, checkerboard())
    np.save(place / "item_vectors.npy", np.eye(ITEMS, dtype=np.float16))
    artifact.write_manifest(place, kind=kind)
    return place


@pytest.fixture(scope="module")
def model(folder):
    return loading.load(folder, threads=1)


def none() -> Histories:
    return Histories(np.zeros(3, dtype=np.int64), *(np.zeros(0, dtype=kind) for kind in (np.int32, np.int32, np.int64, np.float32)))


def test_shapes_types_and_order(model):
    items, scores = model.recommend(checkerboard(), DAYS, 5)
    assert items.shape == scores.shape == (USERS, 5) and items.dtype == np.int32 and scores.dtype == np.float32
    assert (np.diff(scores, axis=1) <= 0).all() and all(len(set(row)) == 5 for row in items.tolist())
    assert model.item_ids.tolist() == IDS.tolist()
    assert model.item_vectors.shape == (ITEMS, ITEMS) and model.item_vectors.dtype == np.float32


def test_the_checkerboard_is_learned(model, folder):
    if (kind := artifact.read_manifest(folder)["kind"]) in ("popularity", "frequency"):
        pytest.skip(f"{kind} knows no item that the person has not bought")
    items, _ = model.recommend(checkerboard(), DAYS, ITEMS // 2)
    assert all((row % 2 == user % 2).all() for user, row in enumerate(items))  # the item never bought is among them
    assert all(missing(user) in row for user, row in enumerate(items.tolist()))


def test_excluding_what_was_bought(model):
    given = checkerboard()
    items, scores = model.recommend(given, DAYS, ITEMS, exclude_bought=True)
    for user, row in enumerate(items):
        own = set(given.items[given.offsets[user]:given.offsets[user + 1]].tolist())
        real = row[row >= 0]
        assert set(real.tolist()) == set(range(ITEMS)) - own
        assert (row[len(real):] == -1).all() and np.isneginf(scores[user, len(real):]).all()


def test_new_users_get_what_is_popular(model):
    items, _ = model.recommend(none(), DAYS, 4)
    counts = np.bincount(checkerboard().items, minlength=ITEMS)
    assert items.tolist() == [np.argsort(-counts, kind="stable")[:4].tolist()] * 2


def test_more_places_than_items_stay_empty(model):
    items, scores = model.recommend(checkerboard(), DAYS, ITEMS + 3)
    assert (items[:, ITEMS:] == -1).all() and np.isneginf(scores[:, ITEMS:]).all() and (items[:, :ITEMS] >= 0).all()


def test_twice_the_same_and_the_callers_history_is_left_alone(model):
    given = checkerboard()
    before = given.items.copy()
    first, second = model.recommend(given, DAYS, 6), model.recommend(given, DAYS, 6)
    assert (first[0] == second[0]).all() and (first[1] == second[1]).all() and (given.items == before).all()


def test_a_user_alone_gets_what_they_get_in_company(model):
    given = checkerboard()
    together, scores = model.recommend(given, DAYS, 6)
    for some in (np.array([7]), np.arange(3, USERS), np.arange(0, USERS, 3)):
        found, worth = model.recommend(given.take(some), DAYS, 6)
        assert (found == together[some]).all()
        if not isinstance(model, als.Als):  # a baseline, by BLAS; what serves must not let a near tie fall the other way
            assert (worth == scores[some]).all()


def test_contributions_are_what_a_score_loses_without_the_item(model):
    """Exact for item-item models; the transformer's stand-in names an item whose absence costs more than that of most others."""
    given, asked = checkerboard(), np.array([[missing(user), -1] for user in range(USERS)], dtype=np.int32)
    owned = np.array([[*sorted({*given.items[given.offsets[user]:given.offsets[user + 1]].tolist()}), -1] for user in range(USERS)], dtype=np.int32)
    adds = model.contributions(given, owned, asked, DAYS)
    if adds is None:
        assert not hasattr(model, "stand_in") and not hasattr(model, "weights")
        return
    assert adds.shape == (USERS, 2, owned.shape[1]) and adds.dtype == np.float32
    assert (adds[:, 1] == 0).all() and (adds[:, :, -1] == 0).all()
    lost = np.empty((USERS, owned.shape[1] - 1), dtype=np.float32)
    whole = model.score(given, DAYS)[np.arange(USERS), asked[:, 0]]
    for place in range(lost.shape[1]):
        keep = given.items != owned[given.owners(), place]
        offsets = np.concatenate(([0], np.cumsum(np.bincount(given.owners()[keep], minlength=USERS))))
        rest = Histories(offsets, given.items[keep], given.days[keep], given.times[keep], given.weights[keep])
        lost[:, place] = whole - model.score(rest, DAYS)[np.arange(USERS), asked[:, 0]]
    found = adds[:, 0, :-1]
    if not hasattr(model, "stand_in"):
        assert np.allclose(found, lost, atol=1e-4)
    else:
        named = np.take_along_axis(lost, found.argmax(axis=1)[:, None], axis=1)
        assert (named > lost).sum() / (lost.size - USERS) > 0.85


def test_an_altered_model_is_refused(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    victim = sorted(copy.glob("*.npz"))[0]
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(AuditFailed, match="altered"):
        loading.load(copy)


def test_another_kind_of_model_is_refused(tmp_path):
    artifact.write_manifest(tmp_path, kind="classifier")
    with pytest.raises(AuditFailed, match="does not recommend"):
        loading.load(tmp_path)
