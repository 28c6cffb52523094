"""The tab "Data checks" of a run in the Airflow UI: Great Expectations' page about the day that it loaded.

Pages are written by the loads (`ecomrec/data_docs.py`) and only read here, by whoever may see the DAG.
"""

from html import escape
from typing import ClassVar

from airflow.api_fastapi.core_api.security import requires_access_dag, requires_authenticated
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from ecomrec.data_docs import FOLDER

app = FastAPI(title="ecomrec data checks", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(requires_authenticated())])
PAGE = "<!doctype html><meta charset=utf-8><style>:root{{color-scheme:light dark}}body{{font:14px/1.6 system-ui,sans-serif;margin:2rem}}</style><h1>Data checks</h1>{}"


def _connection(name: str):
    """The Connection of this name, as tasks see it, or None."""
    from airflow.exceptions import AirflowNotFoundException
    from airflow.models.connection import Connection

    try:
        return Connection.get_connection_from_secrets(name)
    except AirflowNotFoundException:
        return None


@app.get("/{dag_id}/{run_id:path}", response_class=HTMLResponse, dependencies=[Depends(requires_access_dag(method="GET"))])
def checks(dag_id: str, run_id: str, page: int = -1) -> HTMLResponse:
    """The run's page; a list of them when it loaded several batches of days; a sentence when it loaded nothing that is checked."""
    from ecomrec import database
    from ecomrec.settings import Settings
    from ecomrec.store import open_store

    settings = Settings().connected(_connection)
    actors = (f"{dag_id} {run_id}", f"{dag_id} {run_id.replace(' ', '+')}")  # a + in an address may arrive as a blank
    with database.connect(settings.shop_dsn, application="ecomrec data checks") as connection:
        found = next((rows for actor in actors if (rows := database.query(connection, "validation/docs_of_run", {"actor": actor}))), [])
    if not found:
        return HTMLResponse(PAGE.format("<p>This run has loaded nothing that is checked, or is not so far yet.</p>"))
    if len(found) == 1 or 0 <= page < len(found):
        key = found[max(page, 0)]["docs"]
        text = open_store(settings).read_text(key) if key.startswith(f"{FOLDER}/") else None
        return HTMLResponse(text or PAGE.format(f"<p>{escape(key)} is no longer in the object store.</p>"))
    lines = "".join(f'<li><a href="?page={number}">{escape(row["kind"])}, {row["first"]} to {row["last"]}: {escape(row["state"])}</a>' for number, row in enumerate(found))
    return HTMLResponse(PAGE.format(f"<ul>{lines}</ul>"))


class DataChecks(AirflowPlugin):
    name = "ecomrec_data_checks"
    fastapi_apps: ClassVar = [{"app": app, "url_prefix": "/ecomrec/checks", "name": "ecomrec data checks"}]
    external_views: ClassVar = [
        {"name": "Data checks", "href": "ecomrec/checks/{DAG_ID}/{RUN_ID}", "destination": destination, "url_route": route}
        for destination, route in (("task_instance", "data-checks-of-task"), ("dag_run", "data-checks"))]
