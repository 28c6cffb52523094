"""The folders of a training run: a stage begins empty, but for the checkpoint that a killed try left."""

import pytest

from ecomrec import workspace
from ecomrec.settings import Settings


def test_a_killed_try_leaves_its_checkpoint_and_nothing_else(tmp_path):
    settings = Settings(_env_file=None, home=tmp_path)
    with pytest.raises(KeyboardInterrupt), workspace.stage(settings, "run", "recommender", makes="model") as folders:
        (folders["model"] / "training").mkdir()
        (folders["model"] / "training" / "half.npy").write_bytes(b"half")
        (folders["model"] / "config.json").write_text("{")
        (folders["model"] / workspace.CHECKPOINT).write_bytes(b"epoch 3")
        raise KeyboardInterrupt
    with workspace.stage(settings, "run", "recommender", makes="model") as folders:
        assert [path.name for path in folders["model"].iterdir()] == [workspace.CHECKPOINT]
    with workspace.stage(settings, "run", "recommender", needs=("model",), makes="model") as folders:  # a stage that goes on
        assert (folders["model"] / workspace.CHECKPOINT).read_bytes() == b"epoch 3"
