"""Several processes that fit one recommender together: real ones, over gloo, as on a machine with several GPUs."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from ecomrec import recommender, runtime
from ecomrec.errors import EcomrecError
from ecomrec.workspace import CHECKPOINT
from tests.test_recommender import USERS, data, settings  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def rules():
    found = recommender.recipe()
    found["sequential"].update(dim=16, epochs=4, negatives=64, positions=256)
    found["ease"].update({"lambda": [10.0], "half_life": [30.0], "step": [1.0]})
    found["blend"].update(shares=[0.0, 0.5], trends=[0.0], rounds=1)
    return found


@pytest.fixture(scope="module")
def two(settings):  # noqa: F811
    return settings.model_copy(update={"train_processes": 2, "threads": 1})


@pytest.fixture(scope="module")
def whole(two, data, rules, tmp_path_factory):  # noqa: F811
    folder, said = tmp_path_factory.mktemp("whole"), []
    return folder, said, recommender.train(two, data, folder, said.append, rules)


def test_two_processes_train_what_is_served(whole):
    folder, said, done = whole
    assert said == ["2 processes fit the model together; they tell their progress themselves"]
    assert len(done["curve"]) == 4 and done["losses"][-1] < done["losses"][0] and 0 < done["valid_users"] <= USERS
    assert (folder / recommender.WEIGHTS).is_file() and (folder / "linear").is_dir() and not (folder / CHECKPOINT).exists()


def test_what_one_of_them_refuses_is_said_with_its_remedy(two, data, rules, tmp_path):  # noqa: F811
    spoilt = {**rules, "sequential": {**rules["sequential"], "learning_rate": float("nan")}}
    with pytest.raises(EcomrecError, match="no longer a number in epoch 1") as error:
        recommender.train(two, data, tmp_path, lambda _: None, spoilt)
    assert "learning_rate" in error.value.remedy


def test_killed_with_all_it_started_it_goes_on_to_the_same_weights(two, data, rules, whole, tmp_path):  # noqa: F811
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent("""
        import json, sys
        from pathlib import Path
        from ecomrec import recommender
        from ecomrec.settings import Settings
        if __name__ == "__main__":
            recommender.train(Settings(_env_file=None), Path(sys.argv[1]), Path(sys.argv[2]), print, json.loads(sys.argv[3]))
    """))
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, str(script), str(data), str(folder), json.dumps(rules)], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, **runtime.overrides(two), "PYTHONPATH": os.getcwd()})
    told = ""
    while "epoch 1 of 4" not in told:
        told = process.stdout.readline()
        assert told, "it ended before its first epoch"
    while not (folder / CHECKPOINT).exists():
        time.sleep(0.005)
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(started) >= 2 and psutil.wait_procs(started, 20)[1] == [], "none of them writes into the folder of the next try"
    assert recommender.train(two, data, folder, lambda _: None, rules)["curve"] == whole[2]["curve"]
    one, other = (load_file(place / recommender.WEIGHTS) for place in (whole[0], folder))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_first_tunes_the_texts_that_all_read(two, data, rules, tmp_path):  # noqa: F811
    tuning = {**rules, "sequential": {**rules["sequential"], "epochs": 1}, "text": {**rules["text"], "tune": {**rules["text"]["tune"], "pairs": 64, "batch": 16}}}
    for processes in (1, 2):
        recommender.train(two.model_copy(update={"train_processes": processes}), data, tmp_path / str(processes), lambda _: None, tuning)
    alone, together, plain = (np.load(tmp_path / place) for place in (f"1/{recommender.TEXT}", f"2/{recommender.TEXT}", "2/item_vectors.npy"))
    assert (alone == together).all() and np.abs(together - plain).max() > 0.01
