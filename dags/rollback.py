"""Puts back what served before: the model, the publication, or both, within a second and without scoring anyone again.

**Use it** when what is live is wrong: lists that make no sense, a drop in sales after a promotion. `what` = *both* withdraws
the champion, and the live publication where that model made it; *publication* moves only the readers back, and the next
day's run publishes with the same champion again; *model* changes the champion and leaves the live lists until the next
publication. `reason` goes into `ops.audit_log` with your name: the next person reads it.

A version that was rolled back cannot be promoted again by accident, and a publication that it is building at this moment
will not go live. When the model changes, this **emits** the asset `champion`, so fresh lists by the model of before follow.

**Run again**: a cleared run does not roll back a second time. **When red**: nothing has changed; the message says why.
The same from a shell, also while Airflow is down: `ecomrec rollback --what both --reason "…"`.
"""

from airflow.sdk import Param, dag, task
from wiring import CHAMPION, DAG_DEFAULTS, emit, settings

from ecomrec.families import FAMILIES


@dag(schedule=None, doc_md=__doc__, tags=["models", "publish"],
     params={"what": Param("both", type="string", enum=["both", "model", "publication"], title="What to take back",
                           description="both: the champion and what it published. The others: only that."),
             "reason": Param(type="string", minLength=5, title="Why", description="What is wrong. Kept in the audit log."),
             "family": Param("recommender", type="string", enum=list(FAMILIES), title="Model family", description="Whose champion; ignored for a publication.")},
     **DAG_DEFAULTS)
def rollback():
    @task(outlets=[CHAMPION])
    def take_back(params=None, run_id=None, dag_run=None, **context) -> dict:
        from ecomrec import registry
        from ecomrec.rollback import roll_back

        effective = settings()
        actor = getattr(dag_run, "triggering_user_name", None) or "rollback"
        done = roll_back(effective, params["what"], params["reason"], actor=actor, family=params["family"], request=run_id)
        print(f"rolled back: {done}")
        if done["model"]:
            registry.mirror(effective, params["family"])
            if done["live_day"]:
                emit(context, CHAMPION, done["live_day"], done)
        return done

    take_back()


rollback()
