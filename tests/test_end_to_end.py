"""A small shop's day through the real Airflow: files in, DAGs, a champion, published rows; and again, with the same rows."""

import gzip
import json
import time
from datetime import date, timedelta

import numpy as np
import pytest
import requests

from ecomrec import runtime
from ecomrec.airflow_api import Airflow
from ecomrec.privacy import pseudonyms
from ecomrec.settings import Settings
from tests.shopdata import rows

FIRST, LAST, NEXT = "2017-03-01", "2017-04-11", "2017-04-12"
USERS, ITEMS = 150, 60


def write_shop(folder, days: list[str]) -> None:
    """A shop of 60 items in 6 aisles where everybody keeps to the items of one aisle and buys some of them each visit."""
    catalog = [{"item_id": f"i{n:02}", "title": f"thing {n} of aisle {n % 6}", "category": f"AISLE {n % 6}/SHELF {n % 12}", "brand": "Own",
                "price": 1.0 + n, "updated_at": f"{days[0]}T00:00:00Z"} for n in range(ITEMS)]
    _write(folder / "raw" / "catalog" / f"dt={days[0]}" / "snapshot-000.jsonl.gz", catalog)
    for day in days:
        random = np.random.default_rng(int(day.replace("-", "")))
        events = []
        for user in range(USERS):
            if random.random() < 0.4:
                aisle = np.arange(user % 6, ITEMS, 6)
                for item in random.choice(aisle, size=4, replace=False, p=np.arange(10, 0, -1) / 55):
                    events.append({"event_id": f"{day}-{user}-{item}", "event_time": f"{day}T{10 + user % 8:02}:00:00Z", "user_id": f"u{user:03}",
                                   "session_id": f"{day}-{user}", "event_type": "purchase", "item_id": f"i{item:02}", "price": 1.0 + float(item), "quantity": 1})
        events.append({"event_id": f"{day}-odd", "event_time": f"{day}T09:00:00Z", "user_id": "u000", "event_type": "teleport", "item_id": "i00"})
        _write(folder / "raw" / "events" / f"dt={day}" / "events-000.jsonl.gz", events)


def _write(path, records) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(record) + "\n" for record in records)


def days_between(first: str, last: str) -> list[str]:
    start = date.fromisoformat(first)
    return [str(start + timedelta(days=n)) for n in range((date.fromisoformat(last) - start).days + 1)]


@pytest.mark.slow
def test_a_small_day_through_airflow(tmp_path):
    settings = Settings(_env_file=None, home=tmp_path / "home", airflow_port=18080)
    store = tmp_path / "home" / "store"
    write_shop(store, days_between(FIRST, LAST))
    stack = runtime.up(settings, detach=True, echo=print)
    try:
        airflow = Airflow(stack["url"], stack["user"], stack["password"])
        dags = ["ingest_catalog", "ingest_events", "load_history", "train_models", "publish_recommendations", "erase_user"]
        airflow.wait_for_dags(dags)
        assert [dag["dag_id"] for dag in airflow.call("GET", "/dags", limit=100)["dags"] if dag["is_paused"]] == []  # nobody has to switch them on

        airflow.trigger("load_history", {"first": FIRST, "last": LAST}, "history")
        airflow.wait("load_history", "history", timeout=300)
        assert rows(settings.shop_dsn, "SELECT count(DISTINCT event_day) FROM analytics.events") == [(42,)]
        assert rows(settings.shop_dsn, "SELECT count(*), min(reason) FROM ops.rejected_rows WHERE day = %s", LAST)[0][0] == 1

        airflow.trigger("train_models", {"day": LAST, "families": ["recommender"], "require_approval": True}, "training")
        assert "NDCG@10" in asked(airflow, "train_models", "training", "recommender.approve")
        assert rows(settings.shop_dsn, "SELECT * FROM analytics.champions") == []
        approve(airflow, "train_models", "training", "recommender.approve")
        airflow.wait("train_models", "training", timeout=600)
        assert rows(settings.shop_dsn, "SELECT count(*) FROM analytics.model_gates WHERE family = 'recommender'")[0][0] >= 3
        published(airflow, "train_models", "training")
        assert rows(settings.shop_dsn, "SELECT (detail -> 'canaries')::integer > 50, detail -> 'shadow' ->> 'users' FROM ops.audit_log WHERE action = 'canary'") == [(True, str(USERS))]
        assert rows(settings.shop_dsn, "SELECT state, users FROM ops.publications WHERE run_key LIKE 'shadow%%'") == [("shadow", USERS)]
        assert lists_are_personal(settings)

        write_shop(store, [NEXT])
        airflow.trigger("ingest_events", {"day": NEXT}, "next-day")
        airflow.wait("ingest_events", "next-day", timeout=300)
        run = published(airflow, "ingest_events", "next-day")
        before = tables(settings)
        assert rows(settings.shop_dsn, "SELECT day::text FROM analytics.publication") == [(NEXT,)]

        airflow.trigger("ingest_events", {"day": NEXT}, "next-day-again")
        airflow.wait("ingest_events", "next-day-again", timeout=300)
        assert published(airflow, "ingest_events", "next-day-again") != run
        assert tables(settings) == before

        assert checks_are_shown_to_whom_it_concerns(airflow, "ingest_events", "next-day")
        airflow.trigger("erase_user", {"users": ["u001"], "reason": "ticket 7"}, "erasure")
        airflow.wait("erase_user", "erasure", timeout=300)
        gone = pseudonyms.of(settings).of("u001")
        assert rows(settings.shop_dsn, "SELECT count(*) FROM analytics.events WHERE user_id = %s", gone) == [(0,)]
        assert rows(settings.shop_dsn, "SELECT count(DISTINCT user_id) FROM analytics.user_recommendations") == [(USERS - 1,)]
        assert not any(b'"u001"' in gzip.decompress(path.read_bytes()) for path in store.rglob("events-*.gz"))
    finally:
        runtime.down(settings)


def approve(airflow: Airflow, dag: str, run: str, task: str) -> None:
    """Answers as fast as a person, and again if asked again: an answer that comes before Airflow (3.3.2) has noticed that the process which asked
    has ended is taken for a failure of that process, and the retry asks anew."""
    deadline, answered = time.monotonic() + 180, 0.0
    while (state := {found["task_id"]: found["state"] for found in airflow.tasks(dag, run)}.get(task)) != "success":
        assert time.monotonic() < deadline, f"{task} is {state}"
        if state == "awaiting_input" and time.monotonic() - answered > 20:
            time.sleep(3)
            airflow.call("PATCH", f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/-1/hitlDetails", {"chosen_options": ["Approve"], "params_input": {}})
            answered = time.monotonic()
        time.sleep(1)


def asked(airflow: Airflow, dag: str, run: str, task: str) -> str:
    """Waits until the run asks a person; returns what that person is shown."""
    deadline = time.monotonic() + 600
    while {found["task_id"]: found["state"] for found in airflow.tasks(dag, run)}.get(task) != "awaiting_input":
        assert time.monotonic() < deadline, f"{task} asked nobody"
        time.sleep(2)
    return airflow.call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/-1/hitlDetails")["body"]


def checks_are_shown_to_whom_it_concerns(airflow: Airflow, dag: str, run: str) -> bool:
    """Great Expectations' page of the run is behind Airflow's own login, whole, and needs nothing from the network."""
    url = f"{airflow.url}/ecomrec/checks/{dag}/{run}"
    assert requests.get(url, timeout=30).status_code == 401
    page = requests.get(url, headers={"Authorization": f"Bearer {airflow.token()}"}, timeout=30)
    assert page.status_code == 200 and NEXT in page.text
    return "user_id" in page.text and "<script" not in page.text and "<link" not in page.text


def published(airflow: Airflow, dag: str, run: str) -> str:
    """Waits for the publication that the end of `run` starts; returns its run id."""
    deadline = time.monotonic() + 120
    while (found := airflow.started_by("publish_recommendations", dag, run)) is None:
        assert time.monotonic() < deadline, f"{dag} started no publication"
        time.sleep(2)
    airflow.wait("publish_recommendations", found["dag_run_id"], timeout=300)
    return found["dag_run_id"]


def lists_are_personal(settings: Settings) -> bool:
    """Most items in the first five places come from the user's own aisle."""
    found = rows(settings.shop_dsn, "SELECT user_id, item_id FROM analytics.user_recommendations WHERE rank <= 5")
    number = {pseudonyms.of(settings).of(f"u{n:03}"): n for n in range(USERS)}
    own = [number[user] % 6 == int(item[1:]) % 6 for user, item in found]
    return len(found) == 5 * USERS and np.mean(own) > 0.8


def tables(settings: Settings) -> list:
    """Everything that readers see, without the number and time of the publication."""
    return [rows(settings.shop_dsn, "SELECT user_id, rank, item_id, score, reason, because_item_id FROM analytics.user_recommendations ORDER BY 1, 2"),
            rows(settings.shop_dsn, "SELECT user_id, orders, items_bought, spend, lifecycle, top_categories FROM analytics.user_profiles ORDER BY 1"),
            rows(settings.shop_dsn, "SELECT * FROM analytics.events ORDER BY event_day, event_id")]
