"""The model registry: MLflow, in the same Postgres as everything else, its artefacts in the object store."""

import os
import subprocess
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from psycopg2.extras import Json

from ecomrec import artifact, database
from ecomrec.settings import ROOT, Settings, sqlalchemy_url
from ecomrec.store import open_store

CHAMPION = "champion"


def register(settings: Settings, family: str, folder: Path, *, run_name: str, metrics: dict[str, float], tags: dict[str, str]) -> dict:
    """Logs the sealed model in `folder` as an MLflow run and registers it as the next version of `family`.

    The same `run_name` twice gives the same version: a task that was killed after registering goes on with what it made.
    Returns `{"family", "version", "uri", "kind"}`.
    """
    manifest = artifact.read_manifest(folder)
    client = _client(settings)
    experiment = _experiment(client, settings, family)
    for found in client.search_runs([experiment], filter_string=f"attributes.run_name = '{run_name}' and attributes.status = 'FINISHED'"):
        versions = client.search_model_versions(f"run_id = '{found.info.run_id}'")
        if versions:
            return _described(versions[0])
    run = client.create_run(experiment, run_name=run_name, tags={"kind": manifest["kind"], "commit": _commit(), **tags})
    for name, value in metrics.items():
        client.log_metric(run.info.run_id, name, value)
    client.log_artifacts(run.info.run_id, str(folder), "model")
    client.set_terminated(run.info.run_id)
    try:
        client.create_registered_model(family)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(family, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id,
                                          tags={"kind": manifest["kind"], **tags})
    return _described(client.get_model_version(family, version.version))


def promote(settings: Settings, family: str, version: str, reason: str, actor: str = "train_models") -> dict:
    """Moves the alias `champion` of `family` to `version` and writes who, why, from and to into ops.audit_log."""
    client = _client(settings)
    before = champion(settings, family)
    client.set_registered_model_alias(family, CHAMPION, version)
    with database.connect(settings.shop_dsn, application="ecomrec promote") as connection:
        database.execute(connection, "publish/audit_log", {"actor": actor, "action": "promote", "subject": f"{family}/{version}", "detail": Json(
            {"from": before and before["version"], "to": version, "reason": reason})})
    return {"family": family, "version": version, "from": before and before["version"]}


def champion(settings: Settings, family: str) -> dict | None:
    """The version of `family` in service, as `register` returns it, or None before the first promotion."""
    try:
        return _described(_client(settings).get_model_version_by_alias(family, CHAMPION))
    except MlflowException:
        return None


def fetch(settings: Settings, uri: str) -> Path:
    """A local folder with the artefact at `uri`: the store's own folder, or a cached download from S3."""
    if not uri.startswith("s3://"):
        return Path(uri.removeprefix("file://"))
    store = open_store(settings)
    key = uri.removeprefix(settings.store).lstrip("/")
    local = settings.home / "cache" / key
    if not (local / artifact.MANIFEST).is_file():
        store.fetch_folder(key, local)
    return local


def _client(settings: Settings) -> mlflow.MlflowClient:
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    if settings.s3_endpoint_url:
        os.environ["MLFLOW_S3_ENDPOINT_URL"] = settings.s3_endpoint_url
    url = sqlalchemy_url(settings.mlflow_dsn)
    return mlflow.MlflowClient(tracking_uri=url, registry_uri=url)


def _experiment(client: mlflow.MlflowClient, settings: Settings, family: str) -> str:
    found = client.get_experiment_by_name(family)
    return found.experiment_id if found else client.create_experiment(family, artifact_location=f"{settings.store}/models/{family}")


def _described(version: Any) -> dict:
    return {"family": version.name, "version": str(version.version), "uri": version.source, "kind": version.tags.get("kind", "")}


def _commit() -> str:
    found = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
