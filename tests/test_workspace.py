"""The folders of a training run: a stage begins empty, but for the checkpoint that a killed try left, and nobody reads files of two tries."""

import secrets

import pytest

from ecomrec import workspace
from ecomrec.errors import InputError
from ecomrec.settings import Settings
from tests.buckets import bucket, in_s3


@pytest.fixture(params=["folder", "s3"])
def settings(request, tmp_path):
    if request.param == "folder":
        return Settings(_env_file=None, home=tmp_path)
    there = in_s3(request.getfixturevalue("s3"), f"s3://work-{secrets.token_hex(4)}/shop").model_copy(update={"home": tmp_path})
    bucket(there)
    return there


def test_a_killed_try_leaves_its_checkpoint_and_nothing_else(settings):
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


def test_what_a_stage_took_away_is_gone_for_the_next(settings):
    """A compressed model's folder no longer holds the weights of the training, or a second try would read them with the pruned vocabulary."""
    with workspace.stage(settings, "run", "query_classifier", makes="model") as folders:
        (folders["model"] / "classifier.pt").write_bytes(b"whole")
        (folders["model"] / "tokenizer.json").write_text("whole")
    with workspace.stage(settings, "run", "query_classifier", needs=("model",), makes="model") as folders:
        (folders["model"] / "classifier.pt").unlink()
        (folders["model"] / "tokenizer.json").write_text("pruned")
    with workspace.stage(settings, "run", "query_classifier", needs=("model",), makes="model") as folders:
        assert {path.name: path.read_text() for path in folders["model"].iterdir()} == {"tokenizer.json": "pruned"}


def test_a_stage_that_stored_nothing_or_is_no_longer_there_is_said_with_a_remedy(settings):
    """Housekeeping took a finished run's folder, and somebody clears its last task."""
    with workspace.stage(settings, "run", "recommender", makes="dataset") as folders:
        (folders["dataset"] / "meta.json").write_text("{}")
    with pytest.raises(KeyboardInterrupt), workspace.stage(settings, "run", "recommender", needs=("dataset",), makes="model"):
        raise KeyboardInterrupt
    for run, name in (("run", "model"), ("gone", "dataset")):
        with pytest.raises(InputError, match=f"stage {name} of {run}, recommender, has stored nothing") as error, workspace.stage(settings, run, "recommender", needs=("dataset", "model"), makes="model"):
            pass
        assert "clear its task" in error.value.remedy
    if settings.store.startswith("file://"):
        workspace.clear(settings, "run")
        with pytest.raises(InputError, match="stage dataset of run"), workspace.stage(settings, "run", "recommender", needs=("dataset",), makes="model"):
            pass
        assert not list((settings.home / "store").glob("work/*")), "who is refused leaves nothing behind"


def test_a_try_killed_while_it_stored_changes_nothing_for_others(s3, tmp_path, monkeypatch):
    there = in_s3(s3, f"s3://work-{secrets.token_hex(4)}/shop").model_copy(update={"home": tmp_path})
    bucket(there)
    with pytest.raises(InputError, match="stage model of run, recommender, has stored nothing"), workspace.stage(there, "run", "recommender", needs=("model",)):
        pass
    with workspace.stage(there, "run", "recommender", makes="model") as folders:
        (folders["model"] / "a").write_text("first")
        (folders["model"] / "b").write_text("first")
    kept, put = [], type(workspace.open_store(there)).put

    def killed(store, path, key):
        if kept:
            raise KeyboardInterrupt
        kept.append(put(store, path, key))

    with pytest.raises(KeyboardInterrupt), workspace.stage(there, "run", "recommender", needs=("model",), makes="model") as folders:
        (folders["model"] / "a").write_text("second")
        (folders["model"] / "b").write_text("second")
        monkeypatch.setattr(type(workspace.open_store(there)), "put", killed)
    with workspace.stage(there, "run", "recommender", needs=("model",)) as folders:
        assert [(folders["model"] / name).read_text() for name in "ab"] == ["first", "first"]
