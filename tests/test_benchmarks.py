"""The files that benchmarks write."""

import json

import benchmarks
from benchmarks import page


def test_cases_of_several_commands_keep_their_own_commit_date_and_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks, "RESULTS", tmp_path)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    monkeypatch.setattr(benchmarks, "commit", lambda: "new")
    old = {"command": "a", "commit": "old", "date": "2026-01-02", "machine": {"cores": 4, "cpu": "Z80", "memory": 8.0}, "cases": {"a.speed": {"value": 1}, "a.name": "slim", "b.speed": {"value": 2}, "c": {"value": 3, "commit": "oldest", "date": "2026-01-01"}}}
    (tmp_path / "x.json").write_text(json.dumps(old))
    for _ in range(2):  # what is written is read again
        benchmarks.write("x", "b", benchmarks.merged("x", lambda key: key.startswith("b."), {"b.speed": {"value": 4}}))
    told = json.loads((tmp_path / "x.json").read_text())
    assert told["commit"] == "new" and told["cases"]["a.name"] == "slim"
    assert {key: (case["value"], case["commit"]) for key, case in told["cases"].items() if key != "a.name"} == {"a.speed": (1, "old"), "b.speed": (4, "new"), "c": (3, "oldest")}
    assert told["cases"]["a.speed"]["date"] == "2026-01-02" and told["cases"]["b.speed"]["date"] == told["date"]
    assert told["cases"]["a.speed"]["machine"] == "4 cores, Z80, 8.0 GB" and told["cases"]["b.speed"]["machine"] == benchmarks.described(told["machine"])
    assert "Z80" in page.Cases("x").source() and told["machine"]["cpu"] in page.Cases("x").source()
    assert set(benchmarks.merged("none", bool, {"a": {"value": 1}})) == {"a"}


def test_the_page_of_benchmarks_holds_what_the_results_say(tmp_path, monkeypatch):
    written = page.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(page, "IMAGES", tmp_path)
    assert page.text() == written, "run python -m benchmarks.page"
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert len(drawn) >= 4 and all(f"(images/{name})" in written and (page.ROOT / "docs" / "images" / name).is_file() for name in drawn)
