"""Brings a change of the catalogue onto all lists, by a new publication that copies what the change does not touch.

**Use it** after `ingest_catalog` when products went out of stock, came back, are new or changed: from the form, by REST
(`POST /api/v2/dags/refresh_catalog/dagRuns`) or after every catalogue load (`ECOMREC_REFRESH_AFTER_CATALOG`). `items`, `category` and `since` narrow it down;
without any of them everything that differs from what the live lists were made for is taken. `dry_run` only says what changed.

**plan** compares the catalogues; **refresh** (one mapped task a shard) scores the users again whom the change touches and
copies the others; **related** and **search** are built anew; **publish** describes the users, audits and makes all tables live in one transaction, for
the same day and by the same model. **Emits** `recommendations`. The lists are those of a full run. **When red**: what was
live stays. It refuses when the rules or the champion changed: then `publish_recommendations` is the way.
"""

from airflow.sdk import Param, PartitionedAssetTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from wiring import CATALOG, DAG_DEFAULTS, RECOMMENDATIONS, emit, settings

from ecomrec.settings import Settings


@dag(schedule=PartitionedAssetTimetable(assets=CATALOG) if Settings().refresh_after_catalog else None, doc_md=__doc__, tags=["recommend", "publish"],
     params={"items": Param([], type="array", title="Item ids", description="Only these products. Blank: see below."),
             "category": Param(None, type=["null", "string"], title="Category", description="Only products of this category path and below."),
             "since": Param(None, type=["null", "string"], format="date-time", title="Since", description="Only products that the shop updated since then."),
             "reason": Param(None, type=["null", "string"], title="Reason", description="Kept in the audit log."),
             "dry_run": Param(False, type="boolean", title="Dry run", description="Say what changed, publish nothing.")}, **DAG_DEFAULTS)
def refresh_catalog():
    @task
    def plan(**context) -> dict:
        from ecomrec.recommend.refresh import plan
        from ecomrec.registry import champion

        asked = {key: context["params"][key] for key in ("items", "category", "since", "dry_run")}
        found = champion(settings(), "recommender")
        if found is None:
            raise AirflowSkipException("no champion of the family 'recommender' yet: run train_models first")
        made = plan(settings(), context["run_id"], f"recommender/{found['version']} ({found['kind']})", found["uri"], **asked)
        print(f"gone: {made['gone']}\nback, new, changed or numbered anew: {made['other']}")
        if asked["dry_run"] or not made["gone"] + made["other"]:
            raise AirflowSkipException("a dry run" if asked["dry_run"] else "nothing changed since the live lists were made")
        return made

    @task
    def shards(made: dict) -> list[dict]:
        return made["shards"]

    @task
    def related(made: dict) -> dict:
        from ecomrec.recommend.related import build

        return build(settings(), made, made["model_uri"])

    @task(queue="scoring", pool="scoring", map_index_template="shard {{ task.op_kwargs['shard']['shard'] }}")
    def refresh(made: dict, shard: dict) -> dict:
        from ecomrec.recommend.refresh import refresh_shard

        return refresh_shard(settings(), made, shard)

    @task(queue="gpu", pool="gpu")
    def search(made: dict) -> dict:
        from ecomrec.search import tables

        return tables.build(settings(), made["publication_id"], made["day"])

    @task(outlets=[RECOMMENDATIONS])
    def publish(made: dict, **context) -> dict:
        from ecomrec.recommend.refresh import publish

        live = publish(settings(), made, context["params"]["reason"] or "")
        emit(context, RECOMMENDATIONS, made["day"], live)
        return live

    made = plan()
    refreshed = refresh.partial(made=made).expand(shard=shards(made))
    related(made) >> refreshed
    [refreshed, search(made)] >> publish(made)


refresh_catalog()
