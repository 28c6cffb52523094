"""Erases people from everything that ecomrec holds, and proves it.

**In the form**: one or more user ids, as the shop writes them or as pseudonyms (`ecomrec pseudonym ID`), and the reason. The same
on the command line: `ecomrec erase-user ID --reason …`, which leaves no trace in Airflow at all.

**bury** sets a tombstone for each, so that no load, backfill, publication or data set takes them in again, and waits for
what is writing; **tables** deletes their rows in every table, the live publication included, and blanks their ids in other
rows; **files** rewrites the logs, work folders and model files that hold them; **prove** searches every table and file. It is
green only when nothing is found; then `ops.audit_log` says so without naming anybody, and the form's own entry is blanked.

Readers see the rows go and nothing else. **Run again** as often as you like, also after a kill. **When red**: the log names
the table or file that still holds something; the tombstones stand. It takes minutes for millions of rows.
"""

from airflow.sdk import Param, dag, task
from wiring import DAG_DEFAULTS, settings

PARAMS = {"users": Param([], type="array", items={"type": "string"}, title="Users", description="User ids, raw or pseudonyms, one a line."),
          "reason": Param("", type="string", title="Reason", description="Why, for the audit log: a ticket or letter number, no personal data.")}


@dag(schedule=None, doc_md=__doc__, tags=["privacy"], params=PARAMS, **DAG_DEFAULTS)
def erase_user():
    # The ids stay in the run's form: they are never handed from task to task, where XCom and logs would keep them.
    @task
    def bury(params=None) -> list[str]:
        from ecomrec.privacy import erasure

        wanted = erasure.identify(settings(), params["users"])
        erasure.bury(settings(), wanted)
        return erasure.trained_on(settings(), wanted)

    @task
    def tables(params=None) -> dict:
        from ecomrec.privacy import erasure

        return erasure.erase_tables(settings(), erasure.identify(settings(), params["users"]))

    @task
    def files(params=None) -> dict:
        from ecomrec.privacy import erasure

        wanted = erasure.learn_raw_ids(settings(), erasure.identify(settings(), params["users"]))
        done = erasure.erase_files(settings(), wanted)
        erasure.erase_tables(settings(), wanted)  # what only a raw id that was found in the logs leads to
        return done

    @task
    def prove(models: list[str], deleted: dict, rewritten: dict, params=None, dag=None, run_id=None) -> dict:
        from ecomrec.privacy import erasure

        wanted = erasure.identify(settings(), params["users"])
        report = erasure.prove(settings(), wanted, params["reason"], run_id, {"models": models, "tables": deleted, "files": rewritten})
        erasure.forget_request(settings(), wanted, dag.dag_id)
        return report

    models, deleted = bury(), tables()
    rewritten = files()
    models >> deleted >> rewritten >> prove(models, deleted, rewritten)


erase_user()
