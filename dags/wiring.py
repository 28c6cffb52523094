"""What every DAG here shares: defaults, the day, and the settings of a task. No work is done in this folder."""

from datetime import datetime, timedelta

from airflow.sdk import Asset, Connection, CronPartitionTimetable, Param
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from ecomrec import assets
from ecomrec.settings import Settings

CATALOG, EVENTS, CHAMPION, RECOMMENDATIONS = (Asset(name) for name in (assets.CATALOG, assets.EVENTS, assets.CHAMPION, assets.RECOMMENDATIONS))

DAG_DEFAULTS = {
    "start_date": datetime(2017, 1, 1),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {
        "owner": "ecomrec",
        "retries": 1,
        "retry_delay": timedelta(seconds=15),
        "retry_exponential_backoff": 2.0,  # True would be a multiplier of 1.0: no back-off at all
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=2),
    },
}


def daily(cron: str) -> CronPartitionTimetable | None:
    """Runs at `cron`, each for the day before it; None (only on demand) when `cron` is empty."""
    return CronPartitionTimetable(cron, timezone="UTC", run_offset=-1, key_format="%Y-%m-%d") if cron else None


def day_param(description: str) -> Param:
    """The Param `day` of the trigger form: a date, or blank for the run's own partition."""
    return Param(None, type=["null", "string"], format="date", title="Day", description=description)


def accept_param() -> Param:
    """The Param `accept_anyway`: blank, or why a day that does not pass its checks is loaded all the same."""
    return Param("", type="string", title="Accept anyway", maxLength=500, description="Why this day is right although its schema changed or a check of severity "
                 "fail does not hold. The reason is audited. Blank: such a day is refused.")


def day_of(context: dict) -> str:
    """The day a run is about: its Param `day`, else its partition, else, of a run that a plain schedule started, the day before it. A run without any fails
    at once, not silently."""
    day = context["params"].get("day") or context.get("partition_key")
    run = context.get("dag_run")
    if not day and run is not None and run.run_type == "scheduled":
        day = (run.run_after - timedelta(days=1)).date().isoformat()
    if not day:
        raise AirflowFailException("this run has no day: fill in 'day' in the trigger form, or give a partition key")
    return day


def actor(context: dict) -> str:
    """Who runs this, for ops.loads: the DAG and its run."""
    return f"{context['dag'].dag_id} {context['run_id']}"


def settings() -> Settings:
    """The task's settings: the environment's, with what the Connections `ecomrec_db` (Postgres) and `ecomrec_s3` (the bucket's key) say where they exist."""
    return Settings().connected(_connection)


def _connection(name: str) -> Connection | None:
    try:
        return Connection.get(name)
    except AirflowNotFoundException:
        return None


def emit(context: dict, asset: Asset, day: str, facts: dict) -> None:
    """Says that `asset` has a new partition `day`. Without add_partitions a run that has no partition key would fire nobody."""
    context["outlet_events"][asset].extra = facts
    context["outlet_events"][asset].add_partitions(day)
