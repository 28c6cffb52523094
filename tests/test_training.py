"""From a judged model to the one in service: the candidate, its verdicts and its report are kept whatever they say."""

import json
import shutil
from pathlib import Path

from ecomrec import champions, training
from tests.shopdata import rows
from tests.test_recommender import data, run, settings, small  # noqa: F401 - fixtures of a small shop


def test_a_run_is_measured_judged_recorded_and_promoted_twice_the_same(shop, data, run):  # noqa: F811
    work = Path(shop.store.removeprefix("file://")) / "work" / "run-1" / "recommender"
    shutil.copytree(run["folder"], work / "model")
    shutil.copytree(data, work / "dataset")
    training.evaluate(shop, "run-1", "recommender", lambda _: None)
    said = []
    decision = json.loads(json.dumps(training.judge(shop, "run-1", "recommender", said.append)))  # as XCom carries it
    served = [training.promote(shop, "run-1", "recommender", decision, lambda _: None) for _ in range(2)]
    assert served[0]["version"] == served[1]["version"] == champions.champion(shop, "recommender")["version"]
    sentences = {sentence for (sentence,) in rows(shop.shop_dsn, "SELECT sentence FROM analytics.model_gates")}
    report = next(Path(shop.store.removeprefix("file://")).glob("models/recommender/*/artifacts/papers/gates.md")).read_text()
    assert sentences == {verdict["sentence"] for verdict in decision["verdicts"]}
    assert all(sentence in report and any(sentence in line for line in said) for sentence in sentences)
