"""The stages of a training run, the same for every model family: data set → train → compress → evaluate → gates → promote.

Each function takes the settings, the run's name and the family, works in the run's folders (`ecomrec.workspace`), and
returns a small dict for the task's log and XCom.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import ModuleType

from ecomrec import artifact, dependencies, gates, workspace
from ecomrec.families import FAMILIES
from ecomrec.settings import Settings

Echo = Callable[[str], None]


def build_dataset(settings: Settings, run: str, family: str, day: str) -> dict:
    """Reads the days up to and including `day` from Postgres and splits them by time."""
    with workspace.stage(settings, run, family, makes="dataset") as folders:
        return import_module(FAMILIES[family][0]).build(settings, day, folders["dataset"])


def train(settings: Settings, run: str, family: str, echo: Echo = print) -> dict:
    """Fits the candidate on the training days; validation days choose and stop. Packages that changed since the last run are named."""
    dependencies.watch(settings, echo)
    with workspace.stage(settings, run, family, needs=("dataset",), makes="model") as folders:
        return _module(family).train(settings, folders["dataset"], folders["model"], echo)


def compress(settings: Settings, run: str, family: str, echo: Echo = print) -> dict:
    """Makes and measures compressed variants of the candidate, keeps the cheapest that is still good, seals the folder."""
    with workspace.stage(settings, run, family, needs=("dataset", "model"), makes="model") as folders:
        return import_module(f"ecomrec.compression.{family}").compress(settings, folders["dataset"], folders["model"], echo)


def evaluate(settings: Settings, run: str, family: str, echo: Echo = print) -> dict:
    """Measures the compressed candidate, the champion and the baselines on the same held-out days, by slices and with spoilt inputs."""
    with ExitStack() as stored, workspace.stage(settings, run, family, needs=("dataset", "model"), makes="model") as folders:
        measured = _module(family).evaluate(settings, folders["dataset"], folders["model"], echo)
        from ecomrec import champions, evaluation, registry
        from ecomrec.privacy import tombstones

        served = champions.champion(settings, family)
        evaluation.extend(settings, family, folders["dataset"], folders["model"], served and registry.fetch(settings, served["uri"]), echo)
        if family == "recommender":  # its units are users; an erasure waits until the stage has stored them
            stored.enter_context(tombstones.blanked(settings, folders["model"] / "evaluation.parquet", "unit"))
        return measured


def judge(settings: Settings, run: str, family: str, echo: Echo = print) -> dict:
    """The gates' verdicts and the winner (see `ecomrec.gates.decide`), and the candidate as a registered version: with its verdicts,
    report and card it is kept whatever they say, and waits as `challenger`. Its description is added to the decision as `candidate`."""
    from ecomrec import card, champions, database, facts, registry
    from ecomrec.compression import variants

    with workspace.stage(settings, run, family, needs=("dataset", "model"), makes="model") as folders:
        model = folders["model"]
        compressed = artifact.read_manifest(model).get("compression", {}).get("variants", [])
        facts.measure(settings, family, folders["dataset"], model)
        decision = gates.decide(family, model, settings.seed)
        decision["report"] = gates.report(f"{family}, {run}", decision["verdicts"])
        (model / "gates.json").write_text(json.dumps(decision, indent=1, sort_keys=True), encoding="utf-8")
        page = card.markdown(family, run, model, decision)
        before, day = champions.champion(settings, family), artifact.facts(model).get("day", "")
        metrics = {f"{decision['metric'].replace('@', '_at_').replace(' ', '_')}.{name}": value for name, value in decision["means"].items()}
        decision["candidate"] = registry.register(
            settings, family, model, run_name=run, metrics=metrics, curves=_curves(model),
            tags={"gates": "passed" if decision["passed"] else "refused", "recipe_sha256": _recipe_hash(family), "day": day,
                  "history_days": str(settings.history_days), "parent": before["version"] if before else ""},
            papers={"gates.md": decision["report"], "card.md": page, "card.html": card.html(page), **_picture(family, run, model, compressed, decision["metric"])})
        with database.connect(settings.shop_dsn, application="ecomrec gates") as connection:
            gates.record(connection, family, decision["candidate"]["version"], decision["verdicts"])
            variants.record(connection, family, decision["candidate"]["version"], compressed)
        registry.mirror(settings, family, challenger=decision["candidate"]["version"])
    for verdict in decision["verdicts"]:
        echo(f"{verdict['verdict'].upper():12} {verdict['gate']}: {verdict['sentence']}")
    return decision


def promote(settings: Settings, run: str, family: str, decision: dict, echo: Echo = print) -> dict:
    """Moves `champion` to the winner, the candidate or the best baseline, once it has stood before its canaries.

    Returns the version in service as `ecomrec.registry.register` describes it, or `{"version": None}` when no model of
    this run may serve; then what was in service stays.
    """
    from ecomrec import canary, champions, database, registry

    with workspace.stage(settings, run, family, needs=("dataset", "model")) as folders:
        model, candidate = folders["model"], decision["candidate"]
        winner, reason = decision["winner"], f"all gates passed in {run}"
        if winner is None:
            echo(f"{family}: the gates refuse version {candidate['version']} and no baseline may take its place; what is in service stays.")
            registry.mirror(settings, family)
            return {"family": family, "version": None}
        served = candidate
        if winner != "candidate":
            reason = f"the gates refused version {candidate['version']}; {winner} is the best baseline"
            served = registry.register(settings, family, model / "baselines" / winner, run_name=f"{run}:{winner}",
                                       metrics={"primary": decision["means"][winner]}, tags={"gates": "baseline", "instead_of": candidate["version"]})
        before = champions.champion(settings, family)
        looked = canary.look(settings, family, folders["dataset"], registry.fetch(settings, served["uri"]),
                             registry.fetch(settings, before["uri"]) if before and before["version"] != served["version"] else None)
        if family == "recommender":
            from ecomrec.recommend import shadow

            day = artifact.read_manifest(registry.fetch(settings, served["uri"]))["day"]
            looked["shadow"] = shadow.publish(settings, run, day, served)
        with database.connect(settings.shop_dsn, application="ecomrec canary") as connection:
            champions.record(connection, "train_models", "canary", f"{family}/{served['version']}", looked)
        echo(f"{family}: {looked['canaries']} canaries" + ("" if looked["overlap"] is None else f", {looked['overlap']:.0%} of what the champion answers stays"))
        registry.promote(settings, served, reason)
        echo(f"{family}: version {served['version']} ({served['kind']}) is the champion: {reason}.")
        return {**served, "reason": reason}


def _recipe_hash(family: str) -> str:
    """Which recipe and which gates it was made and judged by."""
    folder = Path(__file__).parent / "recipes"
    return hashlib.sha256((folder / f"{family}.toml").read_bytes() + (folder / "gates.toml").read_bytes()).hexdigest()


def _curves(model: Path) -> dict[str, list[float]]:
    """Loss and validation by epoch of a model that was trained in epochs, for the registry's charts."""
    file = model / "training" / "training.json"
    told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {name: told[key] for name, key in (("loss", "losses"), ("valid", "curve")) if key in told}


def _picture(family: str, run: str, model: Path, rows: list[dict], metric: str) -> dict[str, Path]:
    """The variants as a picture beside the model, for the registry; nothing where none were measured."""
    from ecomrec.compression import variants

    made = variants.picture(rows, f"{family}, {run}", metric, model / ".variants.png") if rows else None
    return {"variants.png": made} if made else {}


def _module(family: str) -> ModuleType:
    return import_module(FAMILIES[family][1])
