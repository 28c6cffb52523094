"""A model on disk: a folder whose `manifest.json` names its kind and the SHA-256 of every file. No pickles.

A folder loads only when each checksum matches, so a truncated or altered model is refused, not served.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecomrec.errors import AuditFailed

MANIFEST = "manifest.json"
# What the stages of a run leave beside a model and nothing serves: never sealed, so that each stage may run again after later ones.
BESIDE = {"training", "baselines", "evaluation.json", "evaluation.parquet", "lists.npz", "facts.json", "gates.json"}


def write_manifest(folder: Path, kind: str, **facts: Any) -> dict[str, Any]:
    """Seals `folder`: records `kind`, JSON-serialisable `facts` and a checksum of each file below it (manifests, dot files and BESIDE excepted)."""
    manifest = {"kind": kind, **facts, "files": {name: _sha256(folder / name) for name in _names(folder)}}
    temporary = folder / f".{MANIFEST}.tmp"
    temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    os.replace(temporary, folder / MANIFEST)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a sealed folder. Raises AuditFailed naming the file that is missing or altered."""
    path = folder / MANIFEST
    if not path.is_file():
        raise AuditFailed(f"{folder} is not a model: {MANIFEST} is missing", "train again, or name another version")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AuditFailed(f"{path} is no whole manifest: {error}", "restore the artefact from the registry, or promote another version") from error
    for name, expected in files:
        file = folder / name
        if not file.is_file() or _sha256(file) != expected:
            raise AuditFailed(f"{file} is {'altered' if file.is_file() else 'missing'}: its checksum is not the manifest's",
                              "restore the artefact from the registry, or promote another version")
    return manifest


def facts(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose files were checked before, or need not be."""
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def digest(folder: Path) -> str:
    """What tells a sealed folder from every other one: the SHA-256 of its manifest, which names all files with theirs."""
    return _sha256(folder / MANIFEST)


def seal_again(store: Any, keys: list[str], changed: list[str]) -> None:
    """Records the new checksums of `changed` objects in the manifests above them: after an erasure the model still loads."""
    present = set(keys)
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as temporary:
        for key in changed:
            for above in Path(key).parents:
                name = str(above / MANIFEST)
                if name in present:
                    manifest = json.loads(store.fetch(name, Path(temporary)).read_text(encoding="utf-8"))
                    if (inside := str(Path(key).relative_to(above))) in manifest["files"]:
                        manifest["files"][inside] = _sha256(store.fetch(key, Path(temporary)))
                        path = Path(temporary) / f"new-{MANIFEST}"
                        path.write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
                        store.put(path, name)


def hide(folder: Path, names: Sequence[str]) -> None:
    """Takes files of the training out of what will be sealed; they stay for a second try until `forget`."""
    for name in names:
        (folder / name).replace(folder / f".{name}")


def restore(folder: Path, names: Sequence[str]) -> bool:
    """Puts back what a try that was killed had hidden. False where the last of `names`, the trained weights, is gone: the folder is sealed, the work done."""
    weights = names[-1]
    if not any((folder / name).exists() for name in (weights, f".{weights}")):
        forget(folder, names)
        return False
    for name in names:
        if (folder / f".{name}").exists():
            (folder / f".{name}").replace(folder / name)
    return True


def forget(folder: Path, names: Sequence[str]) -> None:
    """Deletes what was hidden, the weights first: without them `restore` knows that the folder is sealed."""
    for name in reversed(names):
        (folder / f".{name}").unlink(missing_ok=True)


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
                  and path != folder / MANIFEST and path.relative_to(folder).parts[0] not in BESIDE)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
