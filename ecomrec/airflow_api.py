"""Airflow's own REST API, as far as a program that runs a shop's day needs it: trigger, watch, explain a failure."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import requests

from ecomrec.errors import EcomrecError

ENDED = ("success", "failed")
POLL_SECONDS = 2.0
PATIENCE_SECONDS = 60.0  # how long a busy api-server may not answer before that is an error


class Airflow:
    """A session with one Airflow: base URL, login, and a token that is renewed when it runs out."""

    def __init__(self, url: str, user: str, password: str):
        self.url = url.rstrip("/")
        self._login = {"username": user, "password": password}
        self._http = requests.Session()
        self._http.trust_env = False  # a proxy of the environment must not come between us and localhost

    def call(self, method: str, path: str, body: dict | None = None, **parameters: Any) -> dict[str, Any]:
        """One call of `/api/v2<path>`; the JSON of its answer. A call that gets no answer is made again for a minute.

        Raises EcomrecError with Airflow's own words for anything but success.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if "Authorization" not in self._http.headers:
                    self._authenticate()
                answer = self._http.request(
                    method, f"{self.url}/api/v2{path}", json=body, params=parameters, timeout=60
                )
            except requests.RequestException as error:
                if time.monotonic() > deadline:
                    raise EcomrecError(
                        f"Airflow at {self.url} does not answer ({type(error).__name__})",
                        "look at `ecomrec status` and at the logs that it names, then run the same command again",
                    ) from error
                time.sleep(POLL_SECONDS)
                continue
            if answer.status_code == 401 and time.monotonic() < deadline:
                del self._http.headers["Authorization"]
                continue
            if not answer.ok:
                raise ApiRefused(
                    f"Airflow refused {method} {path}: {answer.status_code} {_detail(answer)}", answer.status_code
                )
            return answer.json() if answer.content else {}

    def _authenticate(self) -> None:
        answer = self._http.post(f"{self.url}/auth/token", json=self._login, timeout=60)
        if answer.status_code in (401, 403):
            raise EcomrecError(
                f"Airflow at {self.url} does not accept the login of {self._login['username']}",
                "check ECOMREC_AIRFLOW_USER and ECOMREC_AIRFLOW_PASSWORD",
            )
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def token(self) -> str:
        """The token of this session, which the UI takes as its cookie `_token`."""
        self.call("GET", "/version")
        return str(self._http.headers["Authorization"]).removeprefix("Bearer ")

    def wait_for_dags(self, dag_ids: list[str], timeout: float = 180) -> None:
        """Returns once all of these DAGs have been parsed.

        Raises EcomrecError with the import errors when that takes more than `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            known = {dag["dag_id"] for dag in self.call("GET", "/dags", limit=100)["dags"]}
            missing = [dag_id for dag_id in dag_ids if dag_id not in known]
            if not missing:
                return
            if time.monotonic() > deadline:
                errors = self.call("GET", "/importErrors")["import_errors"]
                why = "\n".join(
                    f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}" for error in errors
                )
                raise EcomrecError(
                    f"Airflow has not found the DAGs {', '.join(missing)} after {timeout:.0f} s\n{why}".rstrip(),
                    "repair the file that is named, or look at the dag-processor's log",
                )
            time.sleep(POLL_SECONDS)

    def unpause(self, dag_id: str) -> None:
        """Lets the scheduler run this DAG."""
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": False}, update_mask="is_paused")

    def trigger(self, dag_id: str, conf: dict | None = None, run_id: str | None = None) -> dict[str, Any]:
        """Starts a run now; returns it. Asked twice for one `run_id`, as when the first answer was lost, it gives the run that there is."""
        # logical_date must be in the body; null lets two runs start in the same second.
        body: dict[str, Any] = {"logical_date": None, "conf": conf or {}}
        if run_id:
            body["dag_run_id"] = run_id
        try:
            return self.call("POST", f"/dags/{dag_id}/dagRuns", body)
        except ApiRefused as error:
            if error.status != 409 or not run_id or (found := self.run(dag_id, run_id)) is None:
                raise
            return found

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        """A run with its `state`, `start_date`, `end_date`, `partition_key`; None when there is none of that id."""
        try:
            return self.call("GET", _path(dag_id, run_id))
        except ApiRefused as error:
            if error.status == 404:
                return None
            raise

    def runs(self, dag_id: str, limit: int = 50) -> list[dict[str, Any]]:
        """The newest runs of a DAG, newest first."""
        return self.call("GET", f"/dags/{dag_id}/dagRuns", order_by="-id", limit=limit)["dag_runs"]

    def started_by(self, dag_id: str, source_dag: str, source_run: str) -> dict[str, Any] | None:
        """The newest run of `dag_id` that an asset event of `source_run` started; None when there is none (yet)."""
        for run in self.runs(dag_id, limit=20):
            events = self.call("GET", f"{_path(dag_id, run['dag_run_id'])}/upstreamAssetEvents")["asset_events"]
            if any(e["source_dag_id"] == source_dag and e["source_run_id"] == source_run for e in events):
                return run
        return None

    def clear_failed(self, dag_id: str, run_id: str) -> None:
        """Lets the failed tasks of a run, and what depends on them, run again; finished ones are kept."""
        self.call("POST", f"{_path(dag_id, run_id)}/clear", {"dry_run": False, "only_failed": True})

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of a run: `task_id`, `map_index`, `state`, `duration` (s), `try_number`, `start_date` …"""
        found: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", f"{_path(dag_id, run_id)}/taskInstances", limit=100, offset=len(found))
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= (page.get("total_entries") or 0):
                return found

    def wait(
        self,
        dag_id: str,
        run_id: str,
        progress: Callable[[list[dict]], None] = lambda tasks: None,
        timeout: float = 3600,
    ) -> dict[str, Any]:
        """Waits for the end of a run, handing its task instances to `progress` at every look; returns the run.

        Raises TaskFailed with the failed task's last log lines, and EcomrecError when `timeout` seconds have passed.
        """
        deadline = time.monotonic() + timeout
        while True:
            run = self.run(dag_id, run_id)
            if run is None:
                raise EcomrecError(
                    f"run {run_id} of {dag_id} is gone", "somebody deleted it; run the same command again"
                )
            tasks = self.tasks(dag_id, run_id)
            progress(tasks)
            if run["state"] == "success":
                return run
            if run["state"] == "failed":
                raise self._failure(dag_id, run_id, tasks)
            if time.monotonic() > deadline:
                raise EcomrecError(
                    f"run {run_id} of {dag_id} has not ended after {timeout:.0f} s",
                    f"see what it does at {self.page(dag_id, run_id)}",
                )
            time.sleep(POLL_SECONDS)

    def log(self, dag_id: str, run_id: str, task: dict[str, Any]) -> tuple[list[str], str]:
        """Lines of the newest try of a task instance, and where its log file lies ('' when Airflow does not say)."""
        answer = self.call(
            "GET",
            f"{_path(dag_id, run_id)}/taskInstances/{task['task_id']}/logs/{max(task['try_number'], 1)}",
            map_index=task["map_index"],
            full_content="true",
        )
        lines, source = [], ""
        for entry in answer.get("content", []):
            if isinstance(entry, str):
                lines += entry.splitlines()
                continue
            if entry.get("sources"):
                source = str(entry["sources"][0])
            event = str(entry["event"])
            if event.startswith("::"):  # Airflow's folding marks
                continue
            if event.startswith(("/", "s3://")) and event.endswith(".log"):  # it names its sources as if they were lines
                source = event
                continue
            lines += [str(entry["event"]).rstrip()]
            lines += [f"{error.get('exc_type')}: {error.get('exc_value')}" for error in entry.get("error_detail") or []]
        return [part for line in lines for part in line.splitlines()], source

    def _failure(self, dag_id: str, run_id: str, tasks: list[dict]) -> "TaskFailed":
        failed = next((task for task in tasks if task["state"] == "failed"), None)
        if failed is None:
            return TaskFailed(
                f"run {run_id} of {dag_id} failed before any task ran", f"see {self.page(dag_id, run_id)}", dag_id, ""
            )
        name = failed["task_id"] + (f"[{failed['map_index']}]" if failed["map_index"] >= 0 else "")
        try:
            lines, source = self.log(dag_id, run_id, failed)
        except EcomrecError as error:
            lines, source = [f"(its log cannot be read: {error.message})"], ""
        tail = "\n".join(f"    {line}" for line in lines[-12:])
        return TaskFailed(
            f"task {name} of {dag_id} failed (run {run_id}). Its last lines:\n{tail}"
            f"\n  log: {source or self.page(dag_id, run_id)}",
            "put right what the lines above name, then run the same command again: what succeeded is kept",
            dag_id,
            name,
        )

    def page(self, dag_id: str, run_id: str) -> str:
        """Where a person sees this run in the browser."""
        return f"{self.url}/dags/{dag_id}/runs/{quote(run_id, safe='')}"


class ApiRefused(EcomrecError):
    """Airflow answered with an error; `status` is the HTTP status."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class TaskFailed(EcomrecError):
    """A run ended red; `dag_id` and `task` say where."""

    def __init__(self, message: str, remedy: str, dag_id: str, task: str):
        super().__init__(message, remedy)
        self.dag_id = dag_id
        self.task = task


def _path(dag_id: str, run_id: str) -> str:
    return f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def _detail(answer: requests.Response) -> str:
    try:
        return str(answer.json().get("detail", ""))[:500]
    except (ValueError, AttributeError):
        return answer.text[:200]
