"""Loads one day's catalogue file into `core.items` and `core.item_history`.

**Reads** `raw/catalog/dt=<day>/` in the object store: a `snapshot-*` file is the whole catalogue (what it leaves out is
marked deleted), a `delta-*` file only what changed. **Writes** `core.items` (now) and `core.item_history` (any day).
**Emits** the asset `catalog`, partition = day.

**Runs** daily for the day before (setting `ECOMREC_DAILY_SCHEDULE`), or on demand with a day in the form.
A day that fails although it is right is let in with a reason in `accept_anyway`, which is audited.
**Run again** as often as you like: the same files give the same rows. **When red**: the log names the file and the
remedy; the catalogue is as it was before.
"""

from airflow.sdk import dag, task
from wiring import CATALOG, DAG_DEFAULTS, accept_param, actor, daily, day_of, day_param, emit, settings

from ecomrec.settings import Settings


@dag(schedule=daily(Settings().daily_schedule), doc_md=__doc__, tags=["ingest"],
     params={"day": day_param("Day of the catalogue file, YYYY-MM-DD. Blank: the run's partition (yesterday, when scheduled)."),
             "accept_anyway": accept_param()}, **DAG_DEFAULTS)
def ingest_catalog():
    @task(outlets=[CATALOG])
    def load(**context) -> dict:
        from ecomrec.ingest import load_catalog

        day = day_of(context)
        loaded = load_catalog(settings(), day, actor=actor(context), accept_anyway=context["params"]["accept_anyway"].strip())
        emit(context, CATALOG, day, loaded)
        return loaded

    load()


ingest_catalog()
