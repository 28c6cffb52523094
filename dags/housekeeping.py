"""Keeps the tables small and fast: partitions ahead, retention, leftovers, planner statistics.

**Makes** the partitions of `core.events` for the coming days (`ECOMREC_PARTITIONS_AHEAD`). **Drops** what is older than each
table's retention (settings `ECOMREC_RETENTION_…`, in days; 0, the default for the shop's data, keeps all), whole partitions
at a time: a month of `core.sessions` goes when its last day is too old. **Removes** staging tables of loads that were
killed and `work/` folders that nobody has written to for days (of a store on disk; in S3 a lifecycle rule does that). **Makes** the daily tables of days that were loaded before
an upgrade brought them, and ANALYZEs the partitioned tables.

**Runs** daily (setting `ECOMREC_DAILY_SCHEDULE`) or by hand. **Run again** as often as you like. A partition that a reader
holds is named under `busy` and left for the next run. **When red**: what was done is done, the rest is done by the next run.
"""

from airflow.sdk import dag, task
from wiring import DAG_DEFAULTS, daily, settings

from ecomrec.settings import Settings


@dag(schedule=daily(Settings().daily_schedule), doc_md=__doc__, tags=["operations"], **DAG_DEFAULTS)
def housekeeping():
    @task
    def keep_house() -> dict:
        from ecomrec.housekeeping import keep_house as keep

        return keep(settings())

    keep_house()


housekeeping()
