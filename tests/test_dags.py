"""Every DAG file parses, keeps the house rules and imports nothing heavy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecomrec.settings import ROOT

DAGS = ROOT / "dags"
FILES = sorted(path.stem for path in DAGS.glob("*.py") if path.stem != "wiring")
HEAVY = ("torch", "pandas", "great_expectations", "mlflow", "transformers", "numpy", "pyarrow", "duckdb", "onnxruntime", "faiss", "boto3")

# In a process of its own: Airflow reads its configuration when it is first imported.
PARSE = """
import json, sys, time
from airflow.dag_processing.dagbag import DagBag
before = set(sys.modules)
started = time.monotonic()
bag = DagBag(dag_folder=sys.argv[1])
seconds = time.monotonic() - started
dags = {d.dag_id: {"doc": d.doc_md or "", "tags": sorted(d.tags), "max_active_runs": d.max_active_runs, "catchup": d.catchup, "timetable": type(d.timetable).__name__,
                   "params": {k: d.params.get_param(k).schema | {"about": d.params.get_param(k).description} for k in d.params},
                   "tasks": {t.task_id: {"owner": t.owner, "retries": t.retries, "timeout": t.execution_timeout is not None,
                                         "backoff": t.retry_exponential_backoff, "queue": t.queue, "outlets": [o.name for o in t.outlets],
                                         "upstream": sorted(t.upstream_task_ids)} for t in d.tasks}}
        for d in bag.dags.values()}
print("RESULT" + json.dumps({"errors": bag.import_errors, "dags": dags, "new": sorted(set(sys.modules) - before), "seconds": seconds}))
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
    return parse(tmp_path_factory.mktemp("airflow"))


def parse(home: Path, **environment: str) -> dict:
    env = {**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
           "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db", "PYTHONPATH": str(DAGS), **environment}
    done = subprocess.run([sys.executable, "-c", PARSE, str(DAGS)], env=env, cwd=home, capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, done.stdout + done.stderr
    return json.loads(lines[0].removeprefix("RESULT"))


def test_every_file_parses_to_one_dag_of_its_name(parsed):
    assert parsed["errors"] == {}
    assert sorted(parsed["dags"]) == FILES


def test_dag_files_import_nothing_heavy(parsed):
    assert [name for name in parsed["new"] if name.split(".")[0] in HEAVY] == []


def test_our_own_code_costs_well_under_a_second():
    code = "import time; s = time.perf_counter(); import ecomrec.settings, ecomrec.assets, ecomrec.families; print(time.perf_counter() - s)"
    base = "import time; import pydantic_settings; " + code
    seconds = min(float(subprocess.run([sys.executable, "-c", base], capture_output=True, text=True, check=True).stdout) for _ in range(3))
    assert seconds < 0.5


@pytest.mark.parametrize("name", FILES)
def test_house_rules(parsed, name):
    dag = parsed["dags"][name]
    assert len(dag["doc"]) > 300 and "**" in dag["doc"], "the docstring is the runbook that the UI shows"
    assert dag["tags"] and dag["max_active_runs"] == 1 and dag["catchup"] is False
    assert all(param["about"] and "title" in param for param in dag["params"].values()), "every Param explains itself"
    for task in dag["tasks"].values():
        assert task["owner"] == "ecomrec" and task["retries"] >= 1 and task["timeout"] and task["backoff"] == 2.0
    assert len((DAGS / f"{name}.py").read_text().splitlines()) <= 90


def test_assets_chain_the_day(parsed):
    outlets = {dag: {asset for task in found["tasks"].values() for asset in task["outlets"]} for dag, found in parsed["dags"].items()}
    assert outlets == {"ingest_catalog": {"catalog"}, "ingest_events": {"events"}, "load_history": {"catalog", "events"},
                       "train_models": {"champion"}, "publish_recommendations": {"recommendations"}, "refresh_catalog": {"recommendations"},
                       "rollback": {"champion"}, "erase_user": set(), "housekeeping": set()}


def test_heavy_work_goes_to_queues_of_its_own(parsed):
    queues = {f"{dag}.{task}": facts["queue"] for dag, found in parsed["dags"].items() for task, facts in found["tasks"].items()}
    assert queues["train_models.recommender.train"] == "gpu" and queues["publish_recommendations.score"] == queues["refresh_catalog.refresh"] == "scoring"
    assert queues["ingest_events.load"] == "default"


def test_a_run_that_a_plain_schedule_started_is_about_the_day_before(tmp_path):
    """The weekly training: no partition, nobody who filled in a form."""
    code = """
from datetime import UTC, datetime
from types import SimpleNamespace
from airflow.sdk.api.datamodels._generated import DagRunType
from wiring import day_of
run = SimpleNamespace(run_type=DagRunType.SCHEDULED, run_after=datetime(2026, 11, 30, 3, tzinfo=UTC))
print(day_of({"params": {"day": None}, "dag_run": run}), day_of({"params": {"day": "2026-11-01"}, "dag_run": run}), day_of({"params": {}, "partition_key": "2026-11-02", "dag_run": run}))
run.run_type = DagRunType.MANUAL
day_of({"params": {}, "dag_run": run})
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(DAGS)}, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["2026-11-29", "2026-11-01", "2026-11-02"] and "this run has no day" in done.stderr, done.stderr


def test_a_daily_schedule_parses(tmp_path):
    found = parse(tmp_path, ECOMREC_DAILY_SCHEDULE="0 0 * * *", ECOMREC_TRAIN_SCHEDULE="0 3 * * 1", ECOMREC_REFRESH_AFTER_CATALOG="true")
    assert found["errors"] == {}
    assert {found["dags"][name]["timetable"] for name in ("refresh_catalog", "publish_recommendations")} == {"PartitionedAssetTimetable"}, "events have a partition, and start nothing else"


def test_ecomrec_does_not_import_airflow():
    found = [path for path in (ROOT / "ecomrec").rglob("*.py")
             for line in path.read_text().splitlines() if line.strip().startswith(("import airflow", "from airflow"))]
    assert found == []
