"""What every DAG here shares: defaults, the day, and the settings of a task. No work is done in this folder."""

from datetime import datetime, timedelta

from airflow.sdk import Asset, Connection, CronPartitionTimetable, Param
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException
from pydantic import SecretStr

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


def day_of(context: dict) -> str:
    """The day a run is about: its Param `day`, else its partition. A run without either fails at once, not silently."""
    day = context["params"].get("day") or context.get("partition_key")
    if not day:
        raise AirflowFailException("this run has no day: fill in 'day' in the trigger form, or give a partition key")
    return day


def settings() -> Settings:
    """The task's settings: the environment's, with the shop's database from the Connection `ecomrec_db` where there is one."""
    found = Settings()
    if found.embedded_postgres:
        return found
    try:
        url = Connection.get("ecomrec_db").get_uri()
    except AirflowNotFoundException:
        return found
    return found.model_copy(update={"database_url": SecretStr(url)})


def emit(context: dict, asset: Asset, day: str, facts: dict) -> None:
    """Says that `asset` has a new partition `day`. Without add_partitions a run that has no partition key would fire nobody."""
    context["outlet_events"][asset].extra = facts
    context["outlet_events"][asset].add_partitions(day)
