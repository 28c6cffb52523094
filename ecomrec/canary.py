"""The last look before a model goes in service: loaded in a fresh process, as a worker will, it answers for some hundred canaries.

    python -m ecomrec.canary FAMILY DATASET FOLDER

The canaries are the same units for every model of a day. What the fresh process answers is compared with what this one
answers (files that do not travel, state that was not saved) and with the champion's answers (how much people will see change).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from ecomrec.errors import AuditFailed
from ecomrec.runtime import overrides
from ecomrec.settings import Settings

CANARIES = 500
SAME = 0.99     # share of canaries that must get the same answer in both processes
OVERLAP = 0.02  # least mean share of the champion's answers that stays; less says that ids or order are mixed up


def answers(settings: Settings, family: str, data: Path, folder: Path) -> list[list[str]]:
    """The answers of the model in `folder` to each canary: item ids, or the one category."""
    random = np.random.default_rng(settings.seed)
    if family == "recommender":
        from ecomrec import dataset
        from ecomrec.evaluation import recommend
        from ecomrec.heldout import held_out
        from ecomrec.models import loading

        loaded = dataset.load(data)
        held, model = held_out(loaded, dataset.TEST), loading.load(folder, settings.threads)
        first = int(random.integers(0, max(1, len(held["histories"]) - CANARIES)))
        given = held["histories"].users(first, min(first + CANARIES, len(held["histories"])))
        names = np.append(loaded.item_ids, "")
        return [[name for name in names[row] if name] for row in recommend(model, loaded.item_ids, given, held["day"], held["exclude"])]
    if family == "query_classifier":
        from ecomrec import query_classifier
        from ecomrec.evaluation import classifier

        queries = query_classifier.read(data, "test")["query"][:CANARIES]
        return [list(found[:1]) for found in classifier(folder, settings).predict(queries, 1)[0]] if queries else []
    from ecomrec import retriever

    return retriever.answers(settings, data, folder)


def look(settings: Settings, family: str, data: Path, folder: Path, champion: Path | None) -> dict:
    """Compares; returns `{"canaries", "same", "overlap", "empty"}` (`overlap` None without a champion).

    Raises AuditFailed when the fresh process cannot load the model, answers otherwise, or has no answer for somebody.
    """
    here = answers(settings, family, data, folder)
    if not here:
        return {"canaries": 0, "same": None, "overlap": None, "empty": 0}
    done = subprocess.run([sys.executable, "-m", "ecomrec.canary", family, str(data), str(folder)], capture_output=True, text=True, check=False,
                          env={**os.environ, **overrides(settings)})
    if done.returncode:
        raise AuditFailed(f"a fresh process cannot serve the {family}: {(done.stderr.strip().splitlines() or ['it died'])[-1]}",
                          "what is in service stays; see that the artefact is whole and does not lean on anything outside it")
    fresh = json.loads(done.stdout.splitlines()[-1])
    before = answers(settings, family, data, champion) if champion else None
    found = {"canaries": len(here), "same": _share([float(one == other) for one, other in zip(here, fresh, strict=True)]) if len(here) == len(fresh) else 0.0,
             "overlap": before and _share([len(set(one) & set(other)) / max(1, len(other)) for one, other in zip(fresh, before, strict=True)]),
             "empty": sum(not one for one in fresh), "doubled": sum(len(set(one)) < len(one) for one in fresh)}
    wrong = [f"{found['empty']} canaries get nothing"] * bool(found["empty"]) + [f"{found['doubled']} canaries get something twice"] * bool(found["doubled"])
    if found["same"] < SAME:
        wrong.append(f"only {found['same']:.1%} of the canaries get the same answer in a fresh process")
    if found["overlap"] is not None and found["overlap"] < OVERLAP:
        wrong.append(f"only {found['overlap']:.1%} of what the champion answers would stay")
    if wrong:
        raise AuditFailed(f"the {family} fails before its canaries: {'; '.join(wrong)}", "what is in service stays; compare the model's files with those of its training run")
    return found


def _share(values: list[float]) -> float:
    return round(float(np.mean(values)), 4)


if __name__ == "__main__":
    print(json.dumps(answers(Settings(), sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
