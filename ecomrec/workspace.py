"""Where the tasks of one training run hand their files to each other: `work/<run>/<family>/<stage>` in the object store.

A folder store is worked in directly. On S3 a stage's inputs are fetched and its output is stored when it is complete,
so tasks may run on different workers; a training that was killed goes on from its checkpoint where the second try has the same worker,
and from the start elsewhere.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ecomrec.errors import InputError
from ecomrec.settings import Settings
from ecomrec.store import open_store

CHECKPOINT = ".checkpoint.pt"  # in a stage's folder: a dot file, so a manifest never seals it
MODEL = "model"                # the stage that a training makes
STORED = ".stored"             # on S3, beside a stage's folder: which of the folders in it is whole


@contextmanager
def stage(settings: Settings, run: str, family: str, *, needs: tuple[str, ...] = (), makes: str | None = None) -> Iterator[dict[str, Path]]:
    """Local folders of the stages in `needs` (read) and `makes` (written; kept only if the block ends well).

    A stage in both is continued: it is there with what earlier tasks put in, and stored again at the end. Raises InputError when a
    stage in `needs` has stored nothing.
    """
    base = f"work/{run}/{family}"
    begins = makes and makes not in needs
    names = dict.fromkeys((*needs, *((makes,) if makes else ())))
    if settings.store.startswith("file://"):
        folders = {name: Path(settings.store.removeprefix("file://")) / base / name for name in names}
        for name in needs:
            if not folders[name].is_dir() or not any(folders[name].iterdir()):
                raise _nothing(settings, run, family, name)
        if begins:
            _clear(folders[makes])
        yield folders
        return
    store = open_store(settings)
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as temporary:
        folders = {name: Path(temporary) / name for name in names}
        if makes == MODEL and begins:
            folders[makes] = settings.home / base / makes  # a second try on this worker finds the checkpoint
            _clear(folders[makes])
        for name in needs:
            stored = store.read_text(f"{base}/{name}{STORED}")
            if stored is None:
                raise _nothing(settings, run, family, name)
            folders[name].mkdir()
            store.fetch_folder(f"{base}/{name}/{stored}", folders[name])
        if makes:
            folders[makes].mkdir(exist_ok=True)
        yield folders
        if makes:
            # Each time a folder of its own, and one small file that says which is whole: nobody ever reads files of two tries.
            attempt, said = uuid4().hex, Path(temporary) / STORED
            said.write_text(attempt, encoding="utf-8")
            store.put_folder(folders[makes], f"{base}/{makes}/{attempt}")
            store.put(said, f"{base}/{makes}{STORED}")
            if folders[makes].is_relative_to(settings.home):
                shutil.rmtree(folders[makes])


def _nothing(settings: Settings, run: str, family: str, name: str) -> InputError:
    return InputError(f"the stage {name} of {run}, {family}, has stored nothing in {settings.store}/work/{run}/{family}, or housekeeping has removed it",
                      "clear its task in Airflow, so that it runs again")


def _clear(folder: Path) -> None:
    """Removes what a killed try left behind, but for the checkpoint that the next one goes on from."""
    folder.mkdir(parents=True, exist_ok=True)
    for child in folder.iterdir():
        if child.is_dir():
            shutil.rmtree(child)
        elif child.name != CHECKPOINT:
            child.unlink()


def clear(settings: Settings, run: str) -> None:
    """Removes a finished run's folder (a folder store only; on S3 a lifecycle rule on `work/` does it)."""
    if settings.store.startswith("file://"):
        shutil.rmtree(Path(settings.store.removeprefix("file://")) / "work" / run, ignore_errors=True)
