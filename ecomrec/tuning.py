"""Hyper-parameter search: Optuna over the recipe's `[search]` section, judged on validation, the study kept in Postgres.

A study goes on where it was left: its trials are in the shop's database, schema `tuning`. The test part is never read.
"""

import json
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import optuna
from optuna.storages import RDBStorage

from ecomrec import recommender
from ecomrec.errors import EcomrecError, InputError
from ecomrec.settings import Settings, sqlalchemy_url

Echo = Callable[[str], None]
SCHEMA = "tuning"


def search(settings: Settings, dataset: Path, name: str, trials: int, echo: Echo = print) -> dict:
    """Runs `trials` more trials of the study `name` on the data set in `dataset`.

    The recipe as it is comes first, and again where that was killed. Returns `{"trials", "best_ndcg10", "best", "recipe_ndcg10"}`, `best`
    being what to write into the recipe. A trial that fails (a loss that is no number, memory) is kept as failed. Raises InputError where the
    study was begun with another recipe, data set or seed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rules = recommender.recipe()
    space = rules["search"]
    storage = RDBStorage(sqlalchemy_url(settings.shop_dsn), engine_kwargs={"connect_args": {"options": f"-csearch_path={SCHEMA}"}})
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    # Trials of another recipe, day or seed are no rivals of these, and Optuna does not know it.
    mine = sha256(json.dumps([{**rules, "search": space}, (dataset / "meta.json").read_text(encoding="utf-8"), settings.seed], sort_keys=True).encode()).hexdigest()
    if study.user_attrs.get("of", mine) != mine:
        raise InputError(f"the study {name} was begun with another recipe, search space, day or seed", "give this one a name of its own, with --study")
    study.set_user_attr("of", mine)
    study.sampler = optuna.samplers.TPESampler(seed=settings.seed + len(study.trials))  # who goes on does not draw again what was drawn
    usual = {key: rules[section][value] for key in space for section, value in [key.split(".")]}
    if study.trials:
        echo(f"going on with {name}: {len(study.trials)} trials are there")
    if not any(trial.params == usual and trial.value is not None for trial in study.trials):
        study.enqueue_trial(usual)

    def objective(trial: optuna.Trial) -> float:
        changed = {section: dict(values) for section, values in rules.items()}
        for key, bounds in space.items():
            section, value = key.split(".")
            number = (trial.suggest_categorical(key, bounds["choices"]) if "choices" in bounds else
                      trial.suggest_float(key, bounds["low"], bounds["high"], log=bounds.get("log", False)))
            changed[section][value] = number
            if value in changed[section].get("by_user", {}):
                changed[section]["by_user"] = {**changed[section]["by_user"], value: number}
        with tempfile.TemporaryDirectory(prefix="ecomrec-tune-") as folder:
            result = recommender.train(settings, dataset, Path(folder), lambda _: None, changed)
        echo(f"trial {trial.number}: validation NDCG@10 {result['valid_ndcg10']:.4f} with {trial.params}")
        return result["valid_ndcg10"]

    study.optimize(objective, n_trials=trials, catch=(EcomrecError,))
    done = [trial for trial in study.trials if trial.value is not None]
    if not done:
        raise EcomrecError(f"no trial of {name} has ended well", "see the messages above, and narrow [search] in the recipe")
    return {"trials": len(study.trials), "best_ndcg10": study.best_value, "best": study.best_params,
            "recipe_ndcg10": next((trial.value for trial in done if trial.params == usual), None)}
