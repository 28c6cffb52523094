"""The demo's driver against a small Airflow of our own that speaks the REST API's words; its report on real Postgres."""

import contextlib
import json
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from rich.console import Console

from ecomrec import airflow_api, database, demo, demo_report
from ecomrec.airflow_api import Airflow, ApiRefused, TaskFailed
from ecomrec.errors import EcomrecError
from ecomrec.settings import Settings

SOURCES = {"train_models": "publish_recommendations", "ingest_events": "publish_recommendations"}


class FakeAirflow:
    """Runs end at the second look. What is in `broken` fails; train_models and ingest_events start a publication."""

    def __init__(self):
        self.runs: dict[tuple[str, str], dict] = {}
        self.dags = {dag_id: True for dag_id in demo.DAGS}
        self.broken: set[str] = set()
        self.bodies: list[dict] = []
        self.cleared: list[str] = []
        self.tokens, self.expired = 0, set()
        self.busy = 0  # answers to swallow, as a server that is just starting does

    def add(self, dag_id, run_id, state="queued", source=None):
        self.runs[dag_id, run_id] = {"dag_run_id": run_id, "dag_id": dag_id, "state": state, "looks": 0, "source": source,
                                     "start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-01T00:01:30Z"}
        return self.runs[dag_id, run_id]

    def answer(self, method, path, query, body):
        parts = [unquote(part) for part in path.removeprefix("/api/v2/").split("/")]
        if parts == ["dags"]:
            return 200, {"dags": [{"dag_id": name} for name in self.dags]}
        if parts == ["importErrors"]:
            return 200, {"import_errors": [{"filename": "dags/bad.py", "stack_trace": "Traceback\nNameError: nope"}]}
        dag_id = parts[1]
        if method == "PATCH":
            self.dags[dag_id] = body["is_paused"]
            return 200, {}
        if parts[2:] == ["dagRuns"] and method == "POST":
            if "logical_date" not in body:
                return 422, {"detail": "Field required: logical_date"}
            if (dag_id, body["dag_run_id"]) in self.runs:
                return 409, {"detail": "the run exists"}
            self.bodies.append(body)
            return 200, self.add(dag_id, body["dag_run_id"])
        if parts[2:] == ["dagRuns"]:
            return 200, {"dag_runs": [run for (owner, _), run in reversed(self.runs.items()) if owner == dag_id]}
        run = self.runs.get((dag_id, parts[3]))
        if run is None:
            return 404, {"detail": "no such run"}
        if parts[4:] == ["clear"]:
            self.cleared.append(run["dag_run_id"])
            run.update(state="queued", looks=0)
            return 200, {}
        if parts[4:] == ["upstreamAssetEvents"]:
            return 200, {"asset_events": [dict(zip(("source_dag_id", "source_run_id"), run["source"], strict=True))] if run["source"] else []}
        if "logs" in parts:
            return 200, {"content": [{"event": "::group::Log message source details", "sources": ["/logs/attempt=1.log"]},
                                     {"event": "/logs/attempt=1.log"}, {"event": "::endgroup::"}, *({"event": f"line {n}"} for n in range(30)),
                                     {"event": "Task failed", "error_detail": [{"exc_type": "InputError", "exc_value": "truncated gzip"}]}]}
        if parts[4:] == ["taskInstances"]:
            state = {"queued": None}.get(run["state"], run["state"])
            return 200, {"task_instances": [{"task_id": "load", "map_index": -1, "state": state, "duration": 1.5, "try_number": 1}], "total_entries": 1}
        run["looks"] += 1
        if run["state"] in ("queued", "running"):
            run["state"] = "running" if run["looks"] < 2 else "failed" if dag_id in self.broken else "success"
            if run["state"] == "success" and dag_id in SOURCES:
                self.add(SOURCES[dag_id], f"asset__{dag_id}", source=(dag_id, run["dag_run_id"]))
        return 200, run

    def handler(fake):
        class Handler(BaseHTTPRequestHandler):
            def _serve(self):
                size = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                if fake.busy:
                    fake.busy -= 1
                    self.connection.close()
                    return
                where = urlsplit(self.path)
                if where.path == "/auth/token":
                    fake.tokens += 1
                    right = body == {"username": "admin", "password": "right"}
                    status, content = (201, {"access_token": f"token{fake.tokens}"}) if right else (401, {"detail": "no"})
                elif self.headers.get("authorization", "").removeprefix("Bearer ") in {"", *fake.expired}:
                    status, content = 401, {"detail": "expired"}
                else:
                    status, content = fake.answer(self.command, where.path, parse_qs(where.query), body)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = _serve

            def log_message(self, *_):
                pass

        return Handler


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(airflow_api, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(demo, "POLL_SECONDS", 0.01)
    airflow = FakeAirflow()
    server = ThreadingHTTPServer(("127.0.0.1", 0), airflow.handler())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    airflow.url = f"http://127.0.0.1:{server.server_port}"
    yield airflow
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(fake):
    return Airflow(fake.url, "admin", "right")


def test_trigger_and_wait(fake, client):
    looks = []
    client.trigger("load_history", {"first": "2017-06-01"}, "mine/1")
    run = client.wait("load_history", "mine/1", looks.append)
    assert fake.bodies == [{"logical_date": None, "conf": {"first": "2017-06-01"}, "dag_run_id": "mine/1"}]
    assert run["state"] == "success" and [tasks[0]["state"] for tasks in looks] == ["running", "success"]
    assert client.run("load_history", "other") is None


def test_a_failed_task_shows_its_last_lines_and_its_log_file(fake, client):
    fake.broken.add("load_history")
    client.trigger("load_history", {}, "mine")
    with pytest.raises(TaskFailed) as caught:
        client.wait("load_history", "mine")
    text = str(caught.value)
    assert "task load of load_history failed" in text and "InputError: truncated gzip" in text and "line 29" in text
    assert "line 3\n" not in text and "log: /logs/attempt=1.log" in text and "remedy" in text


def test_a_trigger_whose_first_answer_was_lost_gives_the_run_that_it_made(fake, client):
    first = client.trigger("load_history", {}, "mine")
    assert client.trigger("load_history", {}, "mine")["dag_run_id"] == first["dag_run_id"] and len(fake.bodies) == 1


def test_a_token_that_ran_out_is_renewed(fake, client):
    client.runs("load_history")
    fake.expired.add("token1")
    assert client.runs("load_history") == [] and fake.tokens == 2


def test_a_server_that_hangs_up_is_asked_again(fake, client):
    fake.busy = 2
    assert client.runs("load_history") == []


def test_a_server_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(airflow_api, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(EcomrecError, match="does not answer"):
        Airflow("http://127.0.0.1:9", "admin", "right").runs("load_history")


def test_a_wrong_login_and_a_refusal_are_named(fake, client):
    with pytest.raises(EcomrecError, match="does not accept the login of admin"):
        Airflow(fake.url, "admin", "wrong").runs("load_history")
    with pytest.raises(ApiRefused, match="422 Field required"):
        client.call("POST", "/dags/load_history/dagRuns", {"conf": {}})


def test_a_dag_that_does_not_import_is_named(client):
    client.wait_for_dags(demo.DAGS)
    with pytest.raises(EcomrecError, match=r"DAGs other.*\n.*dags/bad.py: NameError: nope"):
        client.wait_for_dags(["other"], timeout=0)


def test_only_the_publication_of_this_source_counts(fake, client):
    fake.add("publish_recommendations", "theirs", "success", ("load_history", "h"))
    assert client.started_by("publish_recommendations", "train_models", "t") is None
    fake.add("publish_recommendations", "ours", "queued", ("train_models", "t"))
    assert client.started_by("publish_recommendations", "train_models", "t")["dag_run_id"] == "ours"


# The driver


@pytest.fixture
def stack(fake, monkeypatch, tmp_path):
    """The demo with the fake Airflow, no Postgres and no replay; notes what was started and stopped."""
    settings = Settings(_env_file=None, home=tmp_path / "home")
    settings.home.mkdir()
    calls = []
    runtime = types.SimpleNamespace(
        up=lambda settings, detach, echo: calls.append("up") or {"url": fake.url, "user": "admin", "password": "right"},
        down=lambda settings: calls.append("down"), status=lambda settings: {"phase": "healthy" if "already" in calls else "down"})
    monkeypatch.setitem(sys.modules, "ecomrec.runtime", runtime)
    monkeypatch.setattr("ecomrec.runtime", runtime, raising=False)
    monkeypatch.setattr(demo, "_all_there", lambda *_: True)
    monkeypatch.setattr(demo, "_rows", lambda *_: 7)
    monkeypatch.setattr(demo.database, "query", lambda *_: [{"users": 7}])
    monkeypatch.setattr(demo.database, "connect", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(demo_report, "show", lambda *_: calls.append("report"))
    monkeypatch.delenv("ECOMREC_DEMO_KEEP", raising=False)
    return types.SimpleNamespace(settings=settings, calls=calls, fake=fake)


def test_demo_runs_every_stage_and_stops_what_it_started(stack):
    assert demo.run(stack.settings) == 0
    assert stack.calls == ["up", "report", "down"]
    assert [body["dag_run_id"] for body in stack.fake.bodies] == [
        "demo__load_history__2017-08-07__2017-11-26", "demo__train_models__2017-11-26", "demo__ingest_catalog__2017-11-27",
        "demo__ingest_events__2017-11-27"]
    assert not any(stack.fake.dags.values())  # none is paused any more
    figures = json.loads((stack.settings.home / "demo.json").read_text())
    assert [stage["stage"] for stage in figures["stages"] if "publish" in stage["stage"]] == [
        "publish_recommendations (2017-11-26)", "publish_recommendations (2017-11-27)"]
    assert figures["total_s"] > 0 and figures["peak_pss_gb"] > 0


def test_a_second_demo_repeats_nothing(stack):
    assert demo.run(stack.settings) == 0
    triggered = len(stack.fake.bodies)
    assert demo.run(stack.settings) == 0
    assert len(stack.fake.bodies) == triggered and not stack.fake.cleared
    figures = json.loads((stack.settings.home / "demo.json").read_text())
    kept = [stage for stage in figures["stages"] if stage["kept"] and stage["rows"]]
    assert len(kept) == 6 and all(stage["seconds"] == 90 for stage in kept)  # what it took when it ran


def test_a_failed_stage_is_named_and_the_next_demo_goes_on_from_it(stack, capsys):
    stack.fake.broken.add("train_models")
    assert demo.run(stack.settings) == 1
    shown = capsys.readouterr()
    assert "FAILED during: train_models (2017-11-26)" in shown.out and "truncated gzip" in shown.err and "remedy" in shown.err
    assert stack.calls == ["up", "down"]
    stack.fake.broken.clear()
    assert demo.run(stack.settings) == 0
    assert stack.fake.cleared == ["demo__train_models__2017-11-26"]
    assert [body["dag_run_id"] for body in stack.fake.bodies].count("demo__load_history__2017-08-07__2017-11-26") == 1


def test_what_was_up_stays_up_and_keep_keeps(stack, monkeypatch):
    stack.calls.append("already")
    assert demo.run(stack.settings) == 0 and "down" not in stack.calls
    stack.calls.clear()
    assert demo.run(stack.settings, keep=True) == 0 and "down" not in stack.calls
    monkeypatch.setenv("ECOMREC_DEMO_KEEP", "1")
    assert demo.run(stack.settings) == 0 and "down" not in stack.calls


def test_a_publication_that_never_starts_is_named(stack, monkeypatch, capsys):
    monkeypatch.setattr(demo, "ASSET_TIMEOUT", 0.0)
    monkeypatch.setattr(FakeAirflow, "add", lambda self, dag_id, run_id, state="queued", source=None, add=FakeAirflow.add:
                        None if source else add(self, dag_id, run_id, state))
    assert demo.run(stack.settings) == 1
    assert "publish_recommendations was not started by demo__train_models__2017-11-26" in capsys.readouterr().err


def test_ctrl_c_stops_what_was_started(stack, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_dag", interrupt)
    assert demo.run(stack.settings) == 130
    assert stack.calls == ["up", "down"] and "go on from here" in capsys.readouterr().out


def test_summary():
    def task(name, state, index=-1, duration=None):
        return {"task_id": name, "state": state, "map_index": index, "duration": duration}

    assert demo.summary([task("load", "success", duration=3.21), task("check", "running"), task("later", None), task("wait", "queued"),
                         task("retry", "up_for_retry"), task("score", "success", 0, 1), task("score", "running", 1)]) == {
        "load": "done (3.2 s)", "check": "running", "retry": "will be tried again", "score": "1 of 2 done, running"}
    assert demo.summary([task("score", "success", n, 2) for n in range(3)]) == {"score": "3 of 3 done (6.0 s)"}


# The report

ROWS = """
INSERT INTO core.items (item_id, title, category, updated_at, loaded_day) VALUES
    ('i1', 'Oat milk [1 l]', 'dairy', '2017-11-27', '2017-11-27'), ('i2', 'Rye bread', 'bakery', '2017-11-27', '2017-11-27');
CREATE TABLE core.events_x PARTITION OF core.events DEFAULT;
INSERT INTO core.events (event_day, event_id, event_time, user_id, event_type, item_id, query, price, quantity, context) VALUES
    ('2017-11-27', 'e1', '2017-11-27 10:00Z', 'u1', 'purchase', 'i1', NULL, 2, 1, '{}'),
    ('2017-11-27', 'e2', '2017-11-27 09:00Z', 'u1', 'search', NULL, 'oat mlik', NULL, NULL, '{"simulated": true}');
INSERT INTO ops.loads (kind, day, state, files, rows_read, rows_loaded, rows_rejected, seconds) VALUES
    ('events', '2017-11-27', 'refused', 1, 9, 0, 9, 1), ('events', '2017-11-27', 'loaded', 1, 2, 2, 0, 1),
    ('catalog', '2017-11-27', 'loaded', 1, 3, 3, 0, 1);
INSERT INTO ops.gate_results (family, model_version, gate, verdict, value, low, high, threshold, sentence, decided_at) VALUES
    ('recommender', '1', 'floor', 'fail', 0, 0, 0, 0, 'an older candidate', now() - interval '1 day'),
    ('recommender', '2', 'beats_ease', 'inconclusive', 0.0012, -0.0004, 0.0031, 0, 'The candidate is not proven better than ease.', now());
INSERT INTO ops.champions (family, version, kind, uri, actor, reason, until) VALUES
    ('recommender', '1', 'sequential', 'file:///1', 't', 'old', now()),
    ('recommender', '3', 'ease', 'file:///3', 't', 'the gates refused version 2; ease is the best baseline', NULL);
INSERT INTO ops.publications (run_key, day, state, model_version, users, items) VALUES ('r', '2017-11-27', 'live', 'recommender/3 (ease)', 1, 2);
CREATE TABLE recs.ur PARTITION OF recs.user_recommendations DEFAULT;
CREATE TABLE recs.up PARTITION OF recs.user_profiles DEFAULT;
INSERT INTO recs.user_recommendations SELECT publication_id, 0, 'u1', '{i1,i2}', '{2,1}', '{bought_again,goes_with}', '{i1,i1}', 'm'
    FROM ops.publications;
INSERT INTO recs.user_profiles SELECT publication_id, 'u1', '2017-06-01', '2017-11-27', 0, 31, 40, 20, 99.5, 3, 5, 'active', '{dairy}', '{1}', '{}'
    FROM ops.publications;
"""


@pytest.fixture
def published(shop):
    with database.connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(ROWS)
    return shop


def test_report_says_what_is_live_why_and_what_is_simulated(published, capsys):
    figures = {"total_s": 61.5, "peak_pss_gb": 3.25, "stages": [{"stage": "ingest_events (2017-11-27)", "seconds": 4.0, "rows": 12345, "kept": True}]}
    demo_report.show(published, figures, {"url": "http://127.0.0.1:8081", "user": "admin", "password": "pw"}, {"next day": "http://x/run"})
    shown = capsys.readouterr().out
    for text in ("12,345", "61.5", "3.25 GB", "kept from an earlier run", "INCONCLUSIVE", "-0.0004 to 0.0031", "version 3 serves, because",
                 "the gates refused version 2; ease is the best baseline", "SIMULATED", "“oat mlik”", "Oat milk", "bought again",
                 "goes with Oat milk", "http://127.0.0.1:8081", "http://x/run", "recommender/3 (ease)"):
        assert text in shown, text
    assert "an older candidate" not in shown


def test_the_queries_to_try_work(published):
    for query in demo_report.QUERIES.values():
        with database.connect(published.shop_dsn) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            assert cursor.fetchall(), query


def test_rows_of_a_stage(published):
    assert demo._rows(published, "load_history", ["2017-06-01", "2017-11-27"]) == 5
    assert demo._rows(published, "ingest_events", ["2017-11-27"]) == 2
    assert demo._rows(published, "publish_recommendations", ["2017-11-27"]) == 1
    assert demo._rows(published, "publish_recommendations", ["2017-11-26"]) is None


def test_a_password_is_not_shown():
    assert demo_report.masked("postgresql://u:secret@h:5432/shop") == "postgresql://u@h:5432/shop"
    assert demo_report.masked("postgresql://u@h/shop") == "postgresql://u@h/shop"
    assert demo_report.masked("postgresql://h/shop?user=u&password=secret") == "postgresql://h/shop?user=u"


def test_an_empty_gate_table_can_be_shown():
    Console().print(demo_report.gates([]))
