"""Loads a sealed model folder of any kind; what it returns recommends. The only door: evaluation and publication both go through it.

A model has `item_ids` (str [I]), `item_vectors` (float32 [I, d], length 1, or None) and
`recommend(histories, day, k, exclude_bought) -> (items int32 [U, k], scores float32 [U, k])`; see `ecomrec.models.rank`.
"""

import json
import os
from pathlib import Path

import numpy as np

from ecomrec import artifact
from ecomrec.errors import AuditFailed
from ecomrec.models import als, frequency, itemitem, popularity, serving


def load(folder: Path, threads: int = 0):
    """The model in `folder`. Raises AuditFailed when a file is missing or altered, or the kind is none of the recommender's."""
    manifest, threads = artifact.read_manifest(folder), threads or os.cpu_count() or 1
    vectors = folder / "item_vectors.npy"
    item_vectors = np.load(vectors, allow_pickle=False).astype(np.float32) if vectors.is_file() else None
    match manifest["kind"]:
        case "sequential":
            return serving.sequential(folder, json.loads((folder / "config.json").read_text(encoding="utf-8")), threads, item_vectors)
        case "itemitem":
            return itemitem.load(folder, item_vectors, threads)
        case "als":
            return als.load(folder, item_vectors, threads)
        case "frequency":
            return frequency.load(folder, item_vectors)
        case "popularity":
            return popularity.load(folder, item_vectors)
        case kind:
            raise AuditFailed(f"{folder} holds a model of kind {kind}, which does not recommend", "name a version of the recommender")
