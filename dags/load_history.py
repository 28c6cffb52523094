"""Loads many days in one run: the onboarding of a shop, or a long backfill.

**Reads** `raw/catalog/dt=…/` and `raw/events/dt=…/` for every day from `first` to `last`; days go through the same steps
as in `ingest_events`, many to a batch. A bad day is refused and named, the good ones are loaded, and the run is red.
**Emits** the assets `catalog` and `events` once, for the last day: a backfill of a year starts one publication, not 365.

**Run again** as often as you like: the same files give the same rows.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException
from wiring import CATALOG, DAG_DEFAULTS, EVENTS, actor, emit, settings

from ecomrec.errors import ValidationFailed

LONG = timedelta(days=2)  # a year of a large shop; DAG_DEFAULTS are for a day's work


@dag(schedule=None, doc_md=__doc__, tags=["ingest"],
     params={"first": Param("2017-08-07", type="string", format="date", title="First day", description="First day to load, YYYY-MM-DD."),
             "last": Param("2017-11-26", type="string", format="date", title="Last day", description="Last day to load, included.")},
     **DAG_DEFAULTS)
def load_history():
    @task(outlets=[CATALOG], execution_timeout=LONG)
    def load_catalogue(**context) -> dict:
        from ecomrec.ingest import load_catalog_history

        params = context["params"]
        loaded = load_catalog_history(settings(), params["first"], params["last"], actor=actor(context))
        emit(context, CATALOG, params["last"], loaded)
        return loaded

    @task(outlets=[EVENTS], execution_timeout=LONG)
    def load_events(**context) -> dict:
        from ecomrec.ingest import load_history as load

        params = context["params"]
        try:
            loaded = load(settings(), params["first"], params["last"], actor=actor(context))
        except ValidationFailed as error:  # a second try would load the good days again, and refuse the same ones
            raise AirflowFailException(str(error)) from None
        emit(context, EVENTS, params["last"], loaded)
        return loaded

    load_catalogue() >> load_events()


load_history()
