"""Trains each model family on the days up to and including `day`, and promotes only what is proven better.

Per family: **dataset** (split by time) → **train** → **compress** (pruned, distilled and INT8 variants; the cheapest that is still
good goes on) → **evaluate** (candidate, champion and baselines on the same held-out days) → **judge** (the gates in `ecomrec/recipes/gates.toml`) → with `require_approval` **approve** (a
person reads the report; no answer in a day is a no) → **promote**, once it has answered for some canaries in a fresh process. When the gates
refuse the candidate, the best baseline that is no worse than the champion takes its place, else the champion stays; the log
says so. Every version, its figures and its verdict are in MLflow and `ops.gate_results`. When the last family has ended,
**announce** emits the asset `champion`, partition = day, which starts `publish_recommendations`.

**Run again**: a task that was killed starts its stage over and gives the same result (fixed seed).
**When red**: the champion is what it was before.
"""

from datetime import timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag, task, task_group
from wiring import CHAMPION, DAG_DEFAULTS, day_of, day_param, emit, settings

from ecomrec.families import FAMILIES
from ecomrec.settings import Settings

# The queue says which worker (LocalExecutor ignores it, so a laptop runs the same DAG), the pool how many at once.
GPU = {"queue": "gpu", "pool": "gpu", "execution_timeout": timedelta(days=1)}


@dag(schedule=Settings().train_schedule or None, doc_md=__doc__, tags=["models"],
     params={"day": day_param("Last day of events to learn from, YYYY-MM-DD. The last days of it are held out for the gates."),
             "families": Param(list(FAMILIES), type="array", items={"type": "string", "enum": list(FAMILIES)}, uniqueItems=True,
                               title="Model families", description="Families to train; the others keep their champion."),
             "require_approval": Param(Settings().require_approval, type="boolean", title="Ask a person before promotion",
                                       description="Show the gates' report and wait; without an answer in a day nothing is promoted.")},
     **DAG_DEFAULTS)
def train_models():
    # Families end at different times; what is published from all of them is asked for once, when the last has ended well.
    @task(outlets=[CHAMPION], trigger_rule="none_failed_min_one_success")
    def announce(**context) -> dict:
        promoted = {family: context["ti"].xcom_pull(task_ids=f"{family}.promote") for family in FAMILIES}
        emit(context, CHAMPION, day_of(context), {family: found["version"] for family, found in promoted.items() if found})
        return {}

    [train_family.override(group_id=family)(family) for family in FAMILIES] >> announce()


@task_group
def train_family(family: str):
    @task.short_circuit(ignore_downstream_trigger_rules=False)  # `announce` waits for the families that are wanted
    def wanted(params=None) -> bool:
        return family in params["families"]

    @task
    def dataset(**context) -> dict:
        from ecomrec.training import build_dataset

        return build_dataset(settings(), context["run_id"], family, day_of(context))

    def stage(name: str, **where):
        @task(task_id=name, **where)
        def run(run_id=None) -> dict:
            from ecomrec import training

            return getattr(training, name)(settings(), run_id, family)

        return run()

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def ask(params=None) -> bool:
        return params["require_approval"]

    approve = ApprovalOperator(task_id="approve", subject=f"Promote the {family} of {{{{ run_id }}}}?", defaults="Reject", response_timeout=timedelta(days=1),
                               body=f"{{{{ ti.xcom_pull(task_ids='{family}.judge')['report'] }}}}")

    @task(trigger_rule="none_failed_min_one_success")  # approved, or nobody was to be asked
    def promote(decision: dict, run_id=None) -> dict:
        from ecomrec.training import promote

        return promote(settings(), run_id, family, decision)

    decision = stage("judge")
    wanted() >> dataset() >> stage("train", **GPU) >> stage("compress", **GPU) >> stage("evaluate", **GPU) >> decision
    serve = promote(decision)
    decision >> ask() >> approve >> serve


train_models()
