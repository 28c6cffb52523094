"""The model registry: MLflow, in the same Postgres as everything else, its artefacts in the object store.

It holds every version with its figures, tags and card. Which one serves is decided in `ecomrec.champions`; the aliases
`champion`, `previous` and `challenger` here are a copy of that for people, set by `mirror`.
"""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ecomrec import artifact, champions, database
from ecomrec.champions import champion
from ecomrec.settings import ROOT, Settings, sqlalchemy_url
from ecomrec.store import open_store

__all__ = ["champion", "fetch", "find", "mirror", "promote", "register"]

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before anything imports it: what a shop does is told to nobody


def register(settings: Settings, family: str, folder: Path, *, run_name: str, metrics: dict[str, float], tags: dict[str, str],
             papers: dict[str, str | Path] | None = None, curves: dict[str, list[float]] | None = None) -> dict:
    """Logs the sealed model in `folder` as an MLflow run and registers it as the next version of `family`.

    Only what the manifest seals is kept, not what training left beside it. papers: file name -> text or a file, for people (report,
    model card, pictures). The same model twice under the same `run_name` gives the same version: a task that was killed after registering goes on
    with what it made; another model, of a run whose stages were run again, is a version of its own. curves: name -> value by epoch. Returns `{"family", "version", "uri", "kind"}`.
    """
    from mlflow.exceptions import MlflowException

    manifest = artifact.read_manifest(folder)
    client, digest = _client(settings), artifact.digest(folder)
    experiment = _experiment(client, settings, family)
    for found in client.search_runs([experiment], filter_string=f"attributes.run_name = '{run_name}' and attributes.status = 'FINISHED'"):
        versions = client.search_model_versions(f"run_id = '{found.info.run_id}'")
        if versions and found.data.tags.get("manifest_sha256") == digest:
            return _described(versions[0])
    tags = {"kind": manifest["kind"], "commit": _commit(), "manifest_sha256": digest, **tags}
    run = client.create_run(experiment, run_name=run_name, tags=tags)
    for name, value in metrics.items():
        client.log_metric(run.info.run_id, name, value)
    for name, values in (curves or {}).items():
        for step, value in enumerate(values, start=1):
            client.log_metric(run.info.run_id, name, value, step=step)
    for name in (artifact.MANIFEST, *manifest["files"]):
        place = Path("model", name).parent
        client.log_artifact(run.info.run_id, str(folder / name), str(place))
    with tempfile.TemporaryDirectory() as desk:
        for name, paper in (papers or {}).items():
            (Path(desk) / name).write_bytes(paper.read_bytes() if isinstance(paper, Path) else paper.encode())
            client.log_artifact(run.info.run_id, str(Path(desk) / name), "papers")
    client.set_terminated(run.info.run_id)
    try:
        client.create_registered_model(family)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(family, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id, tags=tags)
    return _described(client.get_model_version(family, version.version))


def promote(settings: Settings, version: dict, reason: str, actor: str = "train_models", *, withdrawn_too: bool = False) -> dict:
    """`ecomrec.champions.promote`, then the aliases."""
    promoted = champions.promote(settings, version, reason, actor, withdrawn_too=withdrawn_too)
    mirror(settings, version["family"])
    return promoted


def mirror(settings: Settings, family: str, challenger: str | None = None) -> None:
    """Sets MLflow's aliases to what `ops.champions` says: `champion`, `previous`, and `challenger` (a version that waits).

    A death between a promotion and this leaves the aliases behind, never what serves; the next call puts them right.
    """
    with database.connect(settings.shop_dsn, application="ecomrec mirror") as connection:
        now, before = champions.current(connection, family), champions.previous(connection, family)
    client = _client(settings)
    wanted = {"champion": now and now["version"], "previous": before and before["version"], "challenger": challenger}
    found = {alias: str(version) for alias, version in client.get_registered_model(family).aliases.items()}  # numbers in some stores
    for alias, version in wanted.items():
        if version is not None and found.get(alias) != version:
            client.set_registered_model_alias(family, alias, version)
        elif version is None and alias in found:
            client.delete_registered_model_alias(family, alias)


def find(settings: Settings, family: str, version: str) -> dict:
    """A registered version as `register` returns it. Raises EcomrecError when there is none."""
    from mlflow.exceptions import MlflowException

    from ecomrec.errors import EcomrecError

    try:
        return _described(_client(settings).get_model_version(family, version))
    except MlflowException as error:
        raise EcomrecError(f"the registry has no version {version} of {family}", "SELECT DISTINCT family, model_version FROM analytics.model_gates lists the judged ones") from error


def fetch(settings: Settings, uri: str) -> Path:
    """A local folder with the artefact at `uri`: the store's own folder, or a cached download from S3."""
    if not uri.startswith("s3://"):
        return Path(uri.removeprefix("file://"))
    store = open_store(settings)
    key = uri.removeprefix(settings.store).lstrip("/")
    local = settings.home / "cache" / key
    if not (local / artifact.MANIFEST).is_file():
        local.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=local.parent, prefix=".fetch-") as desk:  # whole before it has its name: tasks share the cache, and may be killed
            store.fetch_folder(key, Path(desk) / "model")
            try:
                (Path(desk) / "model").rename(local)
            except OSError:
                if not (local / artifact.MANIFEST).is_file():  # else another task was first
                    raise
    return local


def bucket_environment(settings: Settings) -> dict[str, str]:
    """The bucket's place and credentials as MLflow takes them: from nowhere else."""
    secret = settings.s3_secret_access_key.get_secret_value() if settings.s3_secret_access_key else ""
    given = {"MLFLOW_S3_ENDPOINT_URL": settings.s3_endpoint_url, "AWS_ACCESS_KEY_ID": settings.s3_access_key_id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": settings.s3_region}
    return {name: value for name, value in given.items() if value}


def _client(settings: Settings):
    import mlflow  # 5 s on two cores: only where the registry is really asked

    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.update(bucket_environment(settings))
    if settings.s3_access_key_id:
        os.environ.pop("AWS_SESSION_TOKEN", None)  # of another key
    url = sqlalchemy_url(settings.mlflow_dsn)
    return mlflow.MlflowClient(tracking_uri=url, registry_uri=url)


def _experiment(client, settings: Settings, family: str) -> str:
    found = client.get_experiment_by_name(family)
    return found.experiment_id if found else client.create_experiment(family, artifact_location=f"{settings.store}/models/{family}")


def _described(version: Any) -> dict:
    return {"family": version.name, "version": str(version.version), "uri": version.source, "kind": version.tags.get("kind", "")}


def _commit() -> str:
    """The code's commit; "unknown" outside of a checkout, as in the image, which has no git either."""
    try:
        found = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"
