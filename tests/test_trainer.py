"""Training as such: a killed run ends like one that was not, several processes learn together, what goes wrong says what to change."""

import os
import signal
import subprocess
import sys
import textwrap
from functools import partial

import numpy as np
import pytest
import torch

from ecomrec import trainer
from ecomrec.errors import EcomrecError
from ecomrec.models.sequential import Baskets, Sequential, baskets, draw

USERS, ITEMS = 80, 12
RECIPE = {"dim": 16, "heads": 2, "blocks": 1, "dropout": 0.2, "repeat_scale": 20.0, "learning_rate": 0.01, "weight_decay": 0.01, "adversarial": 0.0, "compile": False,
          "identity_dropout": 0.1, "label_smoothing": 0.05, "positions": 64, "targets": 1, "negatives": 8, "epochs": 4, "patience": 9}


def ring() -> Baskets:
    """Each user walks round the ring of items from a place of their own: the next item is always known."""
    items = ((np.arange(USERS)[:, None] + np.arange(9)) % ITEMS).ravel().astype(np.int32)
    return baskets(np.arange(USERS + 1) * 9, items, np.tile(np.arange(9), USERS).astype(np.int32), np.ones(len(items), dtype=np.float32), by_event=True)


def task(newcomers: int = 0) -> trainer.Task:
    """`newcomers`: so many more users who bought once, which leaves nothing to predict."""
    given = ring() if not newcomers else baskets(np.concatenate((np.arange(USERS + 1) * 9, USERS * 9 + 1 + np.arange(newcomers))), np.resize(ring().items, USERS * 9 + newcomers),
                                                 np.resize(np.tile(np.arange(9), USERS), USERS * 9 + newcomers).astype(np.int32), np.ones(USERS * 9 + newcomers, dtype=np.float32), by_event=True)
    owner = np.repeat(np.arange(USERS + newcomers), np.diff(given.users))
    return trainer.Task(given, np.minimum(np.arange(len(owner)) + 2, given.users[owner + 1]), np.full(ITEMS, 1 / ITEMS), None)


def fit(folder, recipe=RECIPE, validate=None, echo=lambda _: None, newcomers=0, text=None):
    torch.set_num_threads(1)  # the order of sums depends on it, and equal weights are asked for across processes
    torch.manual_seed(3)
    model = Sequential(torch.eye(ITEMS) if text is None else text, torch.full((ITEMS,), 5), recipe, repeats=False)
    epochs = iter(range(1, 99))
    return model, trainer.fit(model, task(newcomers), recipe, 3, validate or (lambda _: next(epochs) / 99), folder, folder / "checkpoint.pt", echo)


def weights(model):
    return torch.cat([part.detach().flatten() for _, part in sorted(model.state_dict().items())])


def test_it_learns_what_comes_next(tmp_path):
    model, result = fit(tmp_path, RECIPE | {"epochs": 12})
    assert result["losses"][-1] < 0.7 * result["losses"][0] and result["epochs"] == 12 and result["positions"] == 12 * USERS * 9
    model.eval()
    with torch.inference_mode():
        table = model.item_vectors()
        states = model.encoder(table[torch.arange(5)].unsqueeze(0), torch.arange(5).unsqueeze(0))
    assert (states[0, -1] @ table.T + model.bias).argmax() == 5


def steps(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [point.step for point in EventAccumulator(str(folder / "tensorboard")).Reload().Scalars("NDCG@10/valid")]


def test_the_curves_are_written_for_tensorboard(tmp_path):
    fit(tmp_path)
    assert steps(tmp_path) == [1, 2, 3, 4]


def test_targets_are_drawn_by_their_weight():
    """One user's second day holds two items, of weight 1 and 1/4; buying the first three times that day is still one purchase."""
    given = baskets(np.array([0, 5]), np.array([0, 1, 1, 1, 2], dtype=np.int32), np.array([0, 1, 1, 1, 1], dtype=np.int32), np.array([1, 1, 1, 1, 0.25], dtype=np.float32))
    recipe = RECIPE | {"targets": 4000}
    wanted = draw(given, np.array([2, 2]), np.array([0]), recipe, np.full(3, 1 / 3), None, np.random.default_rng(1))
    drawn = np.bincount(wanted.items[wanted.wanted[0]].numpy(), minlength=3)
    assert drawn[0] == 0 and drawn[1] / drawn.sum() == pytest.approx(0.8, abs=0.03)


def test_a_run_killed_between_epochs_ends_with_the_same_weights(tmp_path):
    """Really killed: SIGKILL in the third epoch's validation, in a process of its own."""
    whole, expected = fit(tmp_path / "whole")
    script = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from tests import test_trainer
        seen = []
        def validate(model):
            seen.append(1)
            if len(seen) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return len(seen) / 99
        test_trainer.fit(Path(sys.argv[1]), validate=validate)
    """)
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "killed")], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    said, values = [], iter([3 / 99, 4 / 99])
    again, result = fit(tmp_path / "killed", validate=lambda _: next(values), echo=said.append)
    assert "going on after epoch 2" in said[0]
    assert torch.equal(weights(again), weights(whole)) and result["losses"] == expected["losses"]
    assert steps(tmp_path / "killed") == [1, 2, 3, 4], "what the killed try drew is drawn again"


def test_another_recipe_does_not_go_on_from_this_checkpoint(tmp_path):
    fit(tmp_path, RECIPE | {"epochs": 1})
    said = []
    _, result = fit(tmp_path, RECIPE | {"epochs": 2, "dropout": 0.5}, echo=said.append)
    assert not any("going on" in line for line in said) and len(result["losses"]) == 2


def test_the_best_epoch_is_kept_and_patience_ends_it(tmp_path):
    values = iter([0.1, 0.3, 0.2, 0.1, 0.1, 0.1])
    kept = []

    def validate(model):
        kept.append(weights(model))
        return next(values)

    model, result = fit(tmp_path, RECIPE | {"epochs": 6, "patience": 1}, validate)
    assert result["epochs"] == 2 and len(result["curve"]) == 4 and torch.equal(weights(model), kept[1])


def test_adversarial_steps_move_the_weights_elsewhere_and_leave_no_noise_behind(tmp_path):
    plain, _ = fit(tmp_path / "plain", RECIPE | {"epochs": 1})
    moved, result = fit(tmp_path / "fgm", RECIPE | {"epochs": 1, "adversarial": 0.5})
    assert np.isfinite(result["losses"][0]) and not torch.equal(weights(plain), weights(moved))
    nothing, _ = fit(tmp_path / "none", RECIPE | {"epochs": 1, "adversarial": 1e-12})
    # A step of no length doubles the gradient, which Adam's scale and the clipping make (nearly) nothing of.
    assert (weights(nothing) - weights(plain)).abs().mean() < (weights(moved) - weights(plain)).abs().mean()


def test_compiled_it_learns_the_same(tmp_path, monkeypatch):
    """Traced, differentiated and cut as for a GPU; only the step to machine code, more than a minute here, is left out."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    same = RECIPE | {"epochs": 1, "dropout": 0.0, "identity_dropout": 0.0}  # what is drawn differs between the two
    plain, compiled = (fit(tmp_path / str(way), same | {"compile": way})[1]["losses"] for way in (False, True))
    assert compiled == pytest.approx(plain, abs=1e-4)


def test_a_missing_compiler_names_the_setting(tmp_path, monkeypatch):
    def no_compiler(graph, inputs):  # the real one takes half a minute to say so
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=no_compiler))
    with pytest.raises(EcomrecError, match=r"torch\.compile failed") as error:
        fit(tmp_path, RECIPE | {"compile": True, "epochs": 1})
    assert "compile = false" in error.value.remedy


def test_a_loss_that_is_no_number_names_the_setting(tmp_path):
    with pytest.raises(EcomrecError, match="no longer a number") as error:
        fit(tmp_path, RECIPE | {"learning_rate": float("nan")})
    assert "learning_rate" in error.value.remedy


def test_running_out_of_memory_names_the_setting(tmp_path, monkeypatch):
    def refuse(*_):  # what numpy raises; a real refusal would take the machine down with it
        raise MemoryError("Unable to allocate 64.0 TiB for an array")

    monkeypatch.setattr(trainer, "draw", refuse)
    with pytest.raises(EcomrecError, match="memory ran out") as error:
        fit(tmp_path)
    assert "positions" in error.value.remedy and "64.0 TiB" in error.value.message


def test_two_processes_learn_one_model(tmp_path):
    """Two real processes over gloo: both end with the same weights and texts, those of the first, and have learned as one does."""
    script = tmp_path / "two.py"
    script.write_text(textwrap.dedent("""
        import os, sys, torch
        from pathlib import Path
        from tests import test_trainer
        folder, text = Path(sys.argv[1]), torch.eye(test_trainer.ITEMS).roll(int(os.environ["RANK"]), 0)  # the second one's are others
        model, result = test_trainer.fit(folder, test_trainer.RECIPE | {"epochs": 8}, newcomers=500, text=text)
        rank = torch.distributed.get_rank()
        assert torch.distributed.get_world_size() == 2
        torch.save({"weights": test_trainer.weights(model), "text": model.text, "losses": result["losses"]}, folder / f"rank{rank}.pt")
        torch.distributed.destroy_process_group()
    """))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.allclose(first["weights"], second["weights"], atol=1e-6)
    assert torch.equal(first["text"], torch.eye(ITEMS)) and torch.equal(second["text"], torch.eye(ITEMS))
    assert first["losses"][-1] < 0.8 * first["losses"][0]
