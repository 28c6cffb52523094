"""Trains each model family on the days up to and including `day`, and promotes only what is proven better.

Per family: **dataset** (split by time) → **train** → **compress** (ONNX, INT8) → **evaluate** (candidate and baselines
on the same held-out days) → **judge** (the gates in `ecomrec/recipes/gates.toml`) → **promote**. The champion is
measured on the same days too. When the gates refuse the candidate, the best baseline that is no worse than the champion
takes its place, else it stays; the log says so. Every version, its
figures and its verdict are in MLflow and `ops.gate_results`. **Emits** the asset `champion`, partition = day, which
starts `publish_recommendations`.

**Run again**: a task that was killed starts its stage over and gives the same result (fixed seed).
**When red**: the champion is what it was before.
"""

from airflow.sdk import Param, dag, task, task_group
from wiring import CHAMPION, DAG_DEFAULTS, day_of, day_param, emit, settings

from ecomrec.families import FAMILIES
from ecomrec.settings import Settings

# The queue says which worker (LocalExecutor ignores it, so a laptop runs the same DAG), the pool how many at once.
GPU = {"queue": "gpu", "pool": "gpu"}


@dag(schedule=Settings().train_schedule or None, doc_md=__doc__, tags=["models"],
     params={"day": day_param("Last day of events to learn from, YYYY-MM-DD. The last days of it are held out for the gates."),
             "families": Param(list(FAMILIES), type="array", items={"type": "string", "enum": list(FAMILIES)}, uniqueItems=True,
                               title="Model families", description="Families to train; the others keep their champion.")},
     **DAG_DEFAULTS)
def train_models():
    for family in FAMILIES:
        train_family.override(group_id=family)(family)


@task_group
def train_family(family: str):
    @task.short_circuit(ignore_downstream_trigger_rules=True)
    def wanted(params=None) -> bool:
        return family in params["families"]

    @task
    def dataset(**context) -> dict:
        from ecomrec.training import build_dataset

        return build_dataset(settings(), context["run_id"], family, day_of(context))

    @task(**GPU)
    def train(run_id=None) -> dict:
        from ecomrec.training import train

        return train(settings(), run_id, family)

    @task(**GPU)
    def compress(run_id=None) -> dict:
        from ecomrec.training import compress

        return compress(settings(), run_id, family)

    @task(**GPU)
    def evaluate(run_id=None) -> dict:
        from ecomrec.training import evaluate

        return evaluate(settings(), run_id, family)

    @task
    def judge(run_id=None) -> dict:
        from ecomrec.training import judge

        return judge(settings(), run_id, family)

    @task(outlets=[CHAMPION] if family == "recommender" else [])  # only its lists are published from a champion so far
    def promote(decision: dict, **context) -> dict:
        from ecomrec.training import promote

        promoted = promote(settings(), context["run_id"], family, decision)
        if family == "recommender":
            emit(context, CHAMPION, day_of(context), promoted)
        return promoted

    decision = judge()
    wanted() >> dataset() >> train() >> compress() >> evaluate() >> decision
    promote(decision)


train_models()
