"""The registry keeps every version; its aliases follow what Postgres says serves."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import requests

from ecomrec import artifact, champions, cli, promotion, registry
from ecomrec.database import connect, execute
from ecomrec.errors import AuditFailed, EcomrecError
from ecomrec.settings import ROOT
from tests.buckets import bucket, in_s3
from tests.shopdata import rows


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    np.save(folder / "parts" / "table.npy", np.arange(3))
    artifact.write_manifest(folder, kind="popularity", day="2017-03-31")
    (folder / "baselines").mkdir()
    (folder / "baselines" / "huge.npy").write_bytes(b"x" * 1000)
    return folder


def test_what_later_stages_leave_is_never_sealed_and_half_a_manifest_is_refused(model):
    for name in ("evaluation.json", "gates.json", ".checkpoint.pt"):
        (model / name).write_text("{}")
    (model / "training").mkdir()
    (model / "training" / "text.npy").write_bytes(b"x")
    assert list(artifact.write_manifest(model, kind="popularity")["files"]) == ["parts/table.npy"]
    whole = (model / artifact.MANIFEST).read_text()
    for broken in (whole[:40], "[]", "{}"):
        (model / artifact.MANIFEST).write_text(broken)
        with pytest.raises(AuditFailed, match=r"manifest\.json is no whole manifest"):
            artifact.read_manifest(model)


def register(shop, model, run="run-1"):
    return registry.register(shop, "recommender", model, run_name=run, metrics={"ndcg": 0.2}, tags={"gates": "passed"}, papers={"report.md": "# Report"},
                             curves={"loss": [3.0, 2.0]})


def aliases(client):
    return {alias: str(version) for alias, version in client.get_registered_model("recommender").aliases.items()}


def test_versions_promotion_and_rollback_as_the_registry_shows_them(shop, model):
    first = register(shop, model)
    assert register(shop, model) == first, "a task that was killed after registering goes on with what it made"
    folder = registry.fetch(shop, first["uri"])
    assert artifact.read_manifest(folder)["kind"] == "popularity" and not (folder / "baselines").exists()
    assert (folder.parent / "papers" / "report.md").read_text() == "# Report"
    client = registry._client(shop)
    run = client.get_model_version("recommender", first["version"]).run_id
    assert [(point.step, point.value) for point in client.get_metric_history(run, "loss")] == [(1, 3.0), (2, 2.0)]
    second = register(shop, model, "run-2")
    assert (first["version"], second["version"]) == ("1", "2")
    np.save(model / "parts" / "table.npy", np.arange(4))
    artifact.write_manifest(model, kind="popularity", day="2017-03-31")
    third = register(shop, model)
    assert third["version"] == "3" and np.load(registry.fetch(shop, third["uri"]) / "parts" / "table.npy").tolist() == [0, 1, 2, 3], "run again, the run made another model"

    registry.promote(shop, first, "the first", "test")
    registry.promote(shop, second, "better", "test")
    assert aliases(client) == {"champion": "2", "previous": "1"}

    client.set_registered_model_alias("recommender", "champion", "1")  # by hand, or a death between the two: it decides nothing
    assert registry.champion(shop, "recommender")["version"] == "2"
    registry.mirror(shop, "recommender", challenger="1")
    assert aliases(client) == {"champion": "2", "previous": "1", "challenger": "1"}


def test_promotion_by_hand_is_held_to_the_gates(shop, model):
    register(shop, model)
    with pytest.raises(AuditFailed, match="never judged"):
        promotion.promote_by_hand(shop, "recommender/1", "I like it", "eve")
    with connect(shop.shop_dsn) as connection:
        execute(connection, "gates/record", {"family": "recommender", "model_version": "1", "gate": "floor", "verdict": "fail", "refuses": True,
                                             "value": 0.1, "low": 0.0, "high": 0.2, "threshold": 0.3, "sentence": "too low"})
    with pytest.raises(AuditFailed, match="refused by floor"):
        promotion.promote_by_hand(shop, "recommender/1", "I like it", "eve")
    promotion.promote_by_hand(shop, "recommender/1", "I like it", "eve", override=True)
    assert rows(shop.shop_dsn, "SELECT actor, reason FROM analytics.champions") == [("eve", "I like it (overriding floor)")]


def test_names_of_versions_are_checked(shop, model):
    for name in ("recommender", "recommender/x", "weather/1"):
        with pytest.raises(EcomrecError, match="names no model version"):
            promotion.promote_by_hand(shop, name, "I like it", "eve")
    register(shop, model)
    with pytest.raises(EcomrecError, match="no version 9"):
        promotion.promote_by_hand(shop, "recommender/9", "I like it", "eve", override=True)
    assert champions.champion(shop, "recommender") is None


def test_an_altered_artefact_is_not_promoted(shop, model):
    folder = registry.fetch(shop, register(shop, model)["uri"])
    (folder / "parts" / "table.npy").write_bytes(b"other")
    with pytest.raises(AuditFailed, match="altered"):
        promotion.promote_by_hand(shop, "recommender/1", "I like it", "eve", override=True)


def test_a_bucket_whose_key_stands_in_the_settings_takes_and_gives_versions(shop, model, s3, monkeypatch):
    for name in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "")  # so that what the registry sets is taken back
        monkeypatch.delenv(name)
    there = in_s3(s3, f"s3://models-{secrets.token_hex(4)}/shop")
    bucket(there)
    named = shop.model_copy(update={name: getattr(there, name) for name in ("store_url", "s3_endpoint_url", "s3_region", "s3_access_key_id", "s3_secret_access_key")})
    version = register(named, model)
    assert version["uri"].startswith(there.store) and np.load(registry.fetch(named, version["uri"]) / "parts" / "table.npy").tolist() == [0, 1, 2]


def test_mlflow_tells_nobody_what_a_shop_does():
    code = "from ecomrec import registry; from mlflow.telemetry.utils import is_telemetry_disabled; print(is_telemetry_disabled())"
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}  # in a test or in CI it tells nothing anyway
    assert subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True).stdout.strip() == "True"


def test_its_pages_are_served_without_a_password_on_the_command_line(shop, model, monkeypatch):
    version, asked = register(shop, model), {}
    monkeypatch.setattr(cli, "settings", lambda: shop)
    monkeypatch.setattr(os, "execve", lambda path, arguments, environment: asked.update(path=path, arguments=arguments, environment=environment))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cli.mlflow_pages(port)
    server = subprocess.Popen([asked["path"], *asked["arguments"][1:]], env=asked["environment"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and server.poll() is None:
            with contextlib.suppress(requests.RequestException):
                found = requests.get(f"http://127.0.0.1:{port}/api/2.0/mlflow/registered-models/search", timeout=10).json()
                break
            time.sleep(0.5)
        assert [(each["name"], each["latest_versions"][0]["version"]) for each in found["registered_models"]] == [("recommender", version["version"])]
    finally:
        server.terminate()
        server.wait(30)
    assert "://" not in " ".join(asked["arguments"])


def test_where_there_is_no_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert registry._commit() == "unknown"
