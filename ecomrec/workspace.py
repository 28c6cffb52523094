"""Where the tasks of one training run hand their files to each other: `work/<run>/<family>/<stage>` in the object store.

A folder store is worked in directly. On S3 a stage's inputs are fetched and its output is stored when it is complete,
so tasks may run on different workers.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecomrec.settings import Settings
from ecomrec.store import open_store

CHECKPOINT = ".checkpoint.pt"  # in a stage's folder: a dot file, so a manifest never seals it

@contextmanager
def stage(settings: Settings, run: str, family: str, *, needs: tuple[str, ...] = (), makes: str | None = None) -> Iterator[dict[str, Path]]:
    """Local folders of the stages in `needs` (read) and `makes` (written; kept only if the block ends well).

    A stage in both is continued: it is there with what earlier tasks put in, and stored again at the end.
    """
    base = f"work/{run}/{family}"
    names = dict.fromkeys((*needs, *((makes,) if makes else ())))
    if settings.store.startswith("file://"):
        folders = {name: Path(settings.store.removeprefix("file://")) / base / name for name in names}
        if makes and makes not in needs:
            _clear(folders[makes])
        yield folders
        return
    store = open_store(settings)
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as temporary:
        folders = {name: Path(temporary) / name for name in names}
        for name, folder in folders.items():
            folder.mkdir()
            if name in needs:
                store.fetch_folder(f"{base}/{name}", folder)
        yield folders
        if makes:
            store.put_folder(folders[makes], f"{base}/{makes}")


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
