"""Scores all users with the champion and publishes their lists and profiles, live in one instant.

**Starts** when a day's `events` are loaded or a new `champion` is promoted, for that day; or by hand.
**prepare** checks the shop's rules and promotions, opens a publication, takes its snapshot of the catalogue and cuts the users into shards; **related** fills
what is alike, bought together and popular; **score** (one mapped task a shard) writes each user's lists with a reason for each item (with
`ECOMREC_RESCORE_DAYS`, users about whom nothing is new keep theirs); **profiles** describes each user and says which promotions to show them
(`ECOMREC_PROMOTIONS`); **search** brings `core.items.embedding` up to date and fills the query tables, with the champions of `retriever` and
`query_classifier`; **audit** counts what is wrong; **publish** makes all tables live in one transaction, holds the day's purchases against the lists of
before (`analytics.outcomes`) and drops publications that are no longer kept. **Emits** `recommendations`.

Analysts read `analytics.user_recommendations`, `analytics.user_lists` (all contexts), `analytics.user_profiles` and more; they see the old publication until
the last instant, then the new one. A rule that cannot hold fails **prepare** and is named in its log. Before the first `train_models` the run is skipped.
**Run again**: a killed task starts over in the same publication. **When red**: what was live stays live.
"""

from airflow.sdk import PartitionedAssetTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from wiring import CHAMPION, DAG_DEFAULTS, EVENTS, RECOMMENDATIONS, day_of, day_param, emit, settings


@dag(schedule=PartitionedAssetTimetable(assets=EVENTS | CHAMPION), doc_md=__doc__, tags=["recommend"],
     params={"day": day_param("Day to publish for, YYYY-MM-DD. Blank: the day of the events or champion that started the run, or the live day where that is later.")}, **DAG_DEFAULTS)
def publish_recommendations():
    @task
    def prepare(**context) -> dict:
        from ecomrec.publication import day_to_publish, open_publication
        from ecomrec.recommend.shard import prepare
        from ecomrec.registry import champion

        found = champion(settings(), "recommender")
        if found is None:
            raise AirflowSkipException("no champion of the family 'recommender' yet: run train_models first")
        day, asked = day_of(context), bool(context["params"]["day"])
        plan = open_publication(settings(), context["run_id"], day if asked else day_to_publish(settings(), day), f"recommender/{found['version']} ({found['kind']})")
        return {**plan, "model_uri": found["uri"], "older": asked, "keep_from": prepare(settings(), plan, found["uri"])["keep_from"]}

    @task
    def shards(plan: dict) -> list[dict]:
        return plan["shards"]

    @task(queue="scoring", pool="scoring", map_index_template="shard {{ task.op_kwargs['shard']['shard'] }}")
    def score(plan: dict, shard: dict) -> dict:
        from ecomrec.recommend.shard import score_shard

        return score_shard(settings(), plan, shard, plan["model_uri"])

    @task
    def related(plan: dict) -> dict:
        from ecomrec.recommend.related import build

        return build(settings(), plan, plan["model_uri"])

    @task
    def profiles(plan: dict) -> dict:
        from ecomrec import profiles
        from ecomrec.promotions import build as promotions

        return {step.__name__: step.build(settings(), plan["publication_id"], plan["day"]) for step in (profiles, promotions)}

    @task(queue="gpu", pool="gpu")
    def search(plan: dict) -> dict:
        from ecomrec.search import tables

        return tables.build(settings(), plan["publication_id"], plan["day"])

    @task
    def audit(plan: dict) -> dict:
        from ecomrec.publication import audit

        return audit(settings(), plan["publication_id"], plan["day"])

    @task(outlets=[RECOMMENDATIONS])
    def publish(plan: dict, found: dict, **context) -> dict:
        from ecomrec import outcomes
        from ecomrec.publication import go_live, prune

        live = go_live(settings(), plan["publication_id"], found, older=plan["older"]) | {"outcome": outcomes.watch(settings(), plan["day"])}
        prune(settings())
        emit(context, RECOMMENDATIONS, plan["day"], live)
        return live

    plan = prepare()
    audited = audit(plan)
    scored = score.partial(plan=plan).expand(shard=shards(plan))
    related(plan) >> scored
    [scored, profiles(plan), search(plan)] >> audited
    publish(plan, audited)


publish_recommendations()
