"""The stages of a training run, the same for every model family: data set → train → compress → evaluate → gates → promote.

Each function takes the settings, the run's name and the family, works in the run's folders (`ecomrec.workspace`), and
returns a small dict for the task's log and XCom.
"""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from ecomrec import gates, workspace
from ecomrec.families import FAMILIES
from ecomrec.settings import Settings

Echo = Callable[[str], None]


def build_dataset(settings: Settings, run: str, family: str, day: str) -> dict:
    """Reads the days up to and including `day` from Postgres and splits them by time."""
    with workspace.stage(settings, run, family, makes="dataset") as folders:
        return import_module(FAMILIES[family][0]).build(settings, day, folders["dataset"])


def train(settings: Settings, run: str, family: str, echo: Echo = print) -> dict:
    """Fits the candidate on the training days; validation days choose and stop."""
    with workspace.stage(settings, run, family, needs=("dataset",), makes="model") as folders:
        return _module(family).train(settings, folders["dataset"], folders["model"], echo)


def compress(settings: Settings, run: str, family: str, echo: Echo = print) -> dict:
    """Exports the candidate to ONNX, makes its INT8 variant, keeps the cheapest that is as good, seals the folder."""
    with workspace.stage(settings, run, family, needs=("dataset", "model"), makes="model") as folders:
        return _module(family).compress(settings, folders["dataset"], folders["model"], echo)


def evaluate(settings: Settings, run: str, family: str, echo: Echo = print) -> dict:
    """Measures the compressed candidate, the champion and the baselines on the same held-out days, by slices and with spoilt inputs."""
    with workspace.stage(settings, run, family, needs=("dataset", "model"), makes="model") as folders:
        measured = _module(family).evaluate(settings, folders["dataset"], folders["model"], echo)
        from ecomrec import champions, evaluation, registry

        served = champions.champion(settings, family)
        evaluation.extend(settings, family, folders["dataset"], folders["model"], served and registry.fetch(settings, served["uri"]), echo)
        return measured


def judge(settings: Settings, run: str, family: str, echo: Echo = print) -> dict:
    """The gates' verdicts and the winner; see `ecomrec.gates.decide`."""
    with workspace.stage(settings, run, family, needs=("model",), makes="model") as folders:
        decision = gates.decide(family, folders["model"], settings.seed)
        (folders["model"] / "gates.json").write_text(json.dumps(decision, indent=1, sort_keys=True), encoding="utf-8")
    for verdict in decision["verdicts"]:
        echo(f"{verdict['verdict'].upper():12} {verdict['gate']}: {verdict['sentence']}")
    return decision


def promote(settings: Settings, run: str, family: str, decision: dict, echo: Echo = print) -> dict:
    """Registers the candidate with its verdicts and moves `champion` to the winner: the candidate, or the best baseline.

    Returns the version in service as `ecomrec.registry.register` describes it, or `{"version": None}` when no model of
    this run may serve; then what was in service stays.
    """
    from ecomrec import database, registry

    with workspace.stage(settings, run, family, needs=("model",)) as folders:
        model = folders["model"]
        verdict = "passed" if decision["passed"] else "refused"
        metrics = {f"{decision['metric'].replace('@', '_at_').replace(' ', '_')}.{name}": value for name, value in decision["means"].items()}
        candidate = registry.register(settings, family, model, run_name=run, metrics=metrics, tags={"gates": verdict}, curves=_curves(model),
                                      papers={"gates.md": gates.report(f"{family}, {run}", decision["verdicts"])})
        with database.connect(settings.shop_dsn, application="ecomrec gates") as connection:
            gates.record(connection, family, candidate["version"], decision["verdicts"])
        winner, reason = decision["winner"], f"all gates passed in {run}"
        if winner is None:
            echo(f"{family}: the gates refuse version {candidate['version']} and no baseline may take its place; what is in service stays.")
            return {"family": family, "version": None}
        served = candidate
        if winner != "candidate":
            reason = f"the gates refused version {candidate['version']}; {winner} is the best baseline"
            served = registry.register(settings, family, model / "baselines" / winner, run_name=f"{run}:{winner}",
                                       metrics={"primary": decision["means"][winner]}, tags={"gates": "baseline", "instead_of": candidate["version"]})
        registry.promote(settings, served, reason)
        echo(f"{family}: version {served['version']} ({served['kind']}) is the champion: {reason}.")
        return {**served, "reason": reason}


def _curves(model: Path) -> dict[str, list[float]]:
    """Loss and validation by epoch of a model that was trained in epochs, for the registry's charts."""
    file = model / "training" / "training.json"
    told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {name: told[key] for name, key in (("loss", "losses"), ("valid", "curve")) if key in told}


def _module(family: str) -> ModuleType:
    return import_module(FAMILIES[family][1])
