"""Loads one day's events: files → staging → contract → Great Expectations → the day's partition of `core.events`.

**Reads** `raw/events/dt=<day>/` in the object store. Rows that break the contract go to `ops.rejected_rows` with file,
line and reason. Only a day that passes every check of severity `fail` replaces its partition, in one transaction; each
load is in `ops.loads`, each check in `ops.validations`. **Emits** the asset `events`, partition = day, which starts
`publish_recommendations`.

**Runs** daily for the day before (setting `ECOMREC_DAILY_SCHEDULE`), or on demand with a day in the form.
A day that fails although it is right is let in with a reason in `accept_anyway`, which is audited.
**Run again** as often as you like: the same files give the same rows. **When red**: the log names the file, the check
and the remedy; the live tables are as they were.
"""

from airflow.sdk import dag, task
from wiring import DAG_DEFAULTS, EVENTS, accept_param, actor, daily, day_of, day_param, emit, settings

from ecomrec.settings import Settings


@dag(schedule=daily(Settings().daily_schedule), doc_md=__doc__, tags=["ingest"],
     params={"day": day_param("Day of the event files, YYYY-MM-DD. Blank: the run's partition (yesterday, when scheduled)."),
             "accept_anyway": accept_param()}, **DAG_DEFAULTS)
def ingest_events():
    @task(outlets=[EVENTS])
    def load(**context) -> dict:
        from ecomrec.ingest import load_events

        day = day_of(context)
        loaded = load_events(settings(), day, actor=actor(context), accept_anyway=context["params"]["accept_anyway"].strip())
        emit(context, EVENTS, day, loaded)
        return loaded

    load()


ingest_events()
