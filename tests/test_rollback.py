"""What served before is live again in an instant; nobody sees an error, an empty list or a mix, and nothing bad comes back."""

import threading
import time

import pytest

from ecomrec import champions, publication
from ecomrec.database import connect, execute
from ecomrec.errors import AuditFailed, EcomrecError
from ecomrec.rollback import roll_back
from tests.shopdata import fill, rows
from tests.test_publication import DAY, EVENTS, ITEMS, build

GOOD, BAD = {"ann": ["i1"], "bob": ["i1"]}, {"ann": ["i2"], "bob": ["i2"]}


def version(number: int, family: str = "recommender") -> dict:
    return {"family": family, "version": str(number), "kind": "test", "uri": f"file:///models/{number}"}


def publish(settings, key, model, lists):
    plan = build(settings, key=key, lists=lists, model=f"recommender/{model} (test)")
    publication.go_live(settings, plan["publication_id"], publication.audit(settings, plan["publication_id"], DAY))
    return plan["publication_id"]


@pytest.fixture
def shop_of_two(shop):
    """Version 1 served and published, then version 2 did."""
    fill(shop.shop_dsn, ITEMS, EVENTS)
    champions.promote(shop, version(1), "the first", "test")
    first = publish(shop, "one", 1, GOOD)
    champions.promote(shop, version(2), "better", "test")
    second = publish(shop, "two", 2, BAD)
    return shop, first, second


def seen(settings) -> tuple:
    return tuple(rows(settings.shop_dsn, "SELECT user_id, item_id, model_version FROM analytics.user_recommendations ORDER BY user_id, rank"))


def live(settings) -> int:
    return rows(settings.shop_dsn, "SELECT publication_id FROM analytics.publication")[0][0]


def test_both_go_back_and_the_audit_log_says_why(shop_of_two):
    settings, first, second = shop_of_two
    done = roll_back(settings, "both", "lists of one product only", actor="eve")
    assert done["model"] == {"from": "2", "to": "1"} and done["publication"] == {"from": second, "to": first, "day": DAY}
    assert seen(settings) == (("ann", "i1", "recommender/1 (test)"), ("bob", "i1", "recommender/1 (test)"))
    assert champions.champion(settings, "recommender")["version"] == "1"
    assert rows(settings.shop_dsn, "SELECT actor, subject, detail ->> 'reason' FROM ops.audit_log WHERE action = 'rollback' ORDER BY 2") == [
        ("eve", f"publication/{second}", "lists of one product only"), ("eve", "recommender/2", "lists of one product only")]


def test_only_the_publication(shop_of_two):
    settings, first, _ = shop_of_two
    assert roll_back(settings, "publication", "a broken day", actor="eve")["model"] is None
    assert live(settings) == first and champions.champion(settings, "recommender")["version"] == "2"


def test_only_the_model(shop_of_two):
    settings, _, second = shop_of_two
    assert roll_back(settings, "model", "a bad model", actor="eve")["publication"] is None
    assert live(settings) == second and champions.champion(settings, "recommender")["version"] == "1"


def test_both_leaves_a_publication_that_the_model_did_not_make(shop_of_two):
    settings, *_ = shop_of_two
    champions.promote(settings, version(3), "newer", "test")
    before = live(settings)
    done = roll_back(settings, "both", "worse offline", actor="eve")
    assert done["publication"] is None and done["model"] == {"from": "3", "to": "2"} and live(settings) == before


def test_several_days_of_a_bad_model_are_skipped(shop_of_two):
    settings, first, _ = shop_of_two
    publish(settings, "three", 2, BAD)
    assert roll_back(settings, "both", "bad for days", actor="eve")["publication"]["to"] == first


def test_a_version_rolled_back_is_not_promoted_by_accident(shop_of_two):
    settings, *_ = shop_of_two
    roll_back(settings, "both", "lists of one product only", actor="eve")
    with pytest.raises(AuditFailed, match=r"was rolled back on .*: lists of one product only"):
        champions.promote(settings, version(2), "a cleared task of last week", "train_models")
    assert champions.champion(settings, "recommender")["version"] == "1"
    champions.promote(settings, version(2), "the cause is mended", "eve", withdrawn_too=True)
    assert champions.champion(settings, "recommender")["version"] == "2"


def test_a_publication_under_way_by_that_model_does_not_go_live(shop_of_two):
    settings, first, second = shop_of_two
    plan = build(settings, key="under way", lists=BAD, model="recommender/2 (test)")
    found = publication.audit(settings, plan["publication_id"], DAY)
    roll_back(settings, "both", "lists of one product only", actor="eve")
    for number in (plan["publication_id"], second):  # and neither does the one that was live, by a cleared task
        with pytest.raises(AuditFailed, match="rolled back"):
            publication.go_live(settings, number, found)
    assert live(settings) == first


def test_what_answers_searches_goes_back_with_the_publication_that_it_made(shop_of_two):
    settings, first, second = shop_of_two
    for number in (1, 2):
        champions.promote(settings, version(number, "retriever"), "finds more", "test")
    under_way = build(settings, key="under way", lists=GOOD)["publication_id"]
    found = publication.audit(settings, under_way, DAY)
    for number, made_with in ((first, "1"), (second, "2"), (under_way, "2")):
        made_by(settings, number, made_with)
    done = roll_back(settings, "both", "finds nothing", actor="eve", family="retriever")
    assert done["model"] == {"from": "2", "to": "1"} and done["publication"] == {"from": second, "to": first, "day": DAY}
    with pytest.raises(AuditFailed, match="retriever/2 was rolled back: finds nothing"):
        publication.go_live(settings, under_way, found)
    assert live(settings) == first


def made_by(settings, number: int, retriever: str) -> None:
    with connect(settings.shop_dsn) as connection:
        execute(connection, "publish/models", {"publication_id": number, "families": ["retriever"], "versions": [retriever]})


def test_a_cleared_publish_task_of_an_old_run_does_not_turn_the_clock_back(shop_of_two):
    settings, first, second = shop_of_two
    publication.go_live(settings, first, {"users": 2, "items": 1})
    assert live(settings) == second


@pytest.mark.parametrize("what", ["rolled back", "superseded"])
def test_a_cleared_publish_task_whose_rows_are_gone_says_what_became_of_it(shop_of_two, what):
    settings, first, second = shop_of_two
    if what == "rolled back":
        roll_back(settings, "publication", "a broken day", actor="eve")
    gone = second if what == "rolled back" else first
    assert publication.drop(settings, gone)
    if what == "rolled back":
        with pytest.raises(AuditFailed, match="it was rolled back itself"):
            publication.go_live(settings, gone, {"users": 2, "items": 1})
    else:
        assert publication.go_live(settings, gone, {"users": 2, "items": 1})["users"] == 2
    assert live(settings) == (first if what == "rolled back" else second)


def test_the_same_request_rolls_back_once(shop_of_two):
    settings, *_ = shop_of_two
    champions.promote(settings, version(3), "newer", "test")
    done = [roll_back(settings, "model", "worse", actor="eve", request="run-7") for _ in range(2)]
    assert champions.champion(settings, "recommender")["version"] == "2" and done[0]["model"] == done[1]["model"]


def test_a_dry_run_changes_nothing(shop_of_two):
    settings, first, second = shop_of_two
    assert roll_back(settings, "both", "just looking", actor="eve", dry_run=True)["publication"]["to"] == first
    assert live(settings) == second and champions.champion(settings, "recommender")["version"] == "2"


def test_nothing_to_go_back_to_changes_nothing(shop):
    fill(shop.shop_dsn, ITEMS, EVENTS)
    champions.promote(shop, version(1), "the first", "test")
    only = publish(shop, "one", 1, GOOD)
    for what in ("both", "model", "publication"):
        with pytest.raises(EcomrecError, match="nothing to go back to"):
            roll_back(shop, what, "anything at all", actor="eve")
    assert live(shop) == only and champions.champion(shop, "recommender")["version"] == "1"
    with pytest.raises(EcomrecError, match="no reason"):
        roll_back(shop, "both", " ", actor="eve")


def test_pruning_keeps_the_publication_that_is_live_again(shop_of_two):
    settings, first, _ = shop_of_two
    roll_back(settings, "both", "lists of one product only", actor="eve")
    publication.prune(settings.model_copy(update={"publications_kept": 2}))
    assert live(settings) == first and len(seen(settings)) == 2


@pytest.mark.parametrize("what", ["publication", "both", "model"])
def test_what_was_rolled_back_takes_no_place_from_what_can_be_gone_back_to(shop_of_two, what):
    settings, first, second = shop_of_two
    settings = settings.model_copy(update={"publications_kept": 2})
    roll_back(settings, what, "lists of one product only", actor="eve")
    third = publish(settings, "three", 1, BAD)
    publication.prune(settings)
    there = {number for (number,) in rows(settings.shop_dsn, "SELECT DISTINCT publication_id FROM recs.user_recommendations")}
    assert there == {first, third} | ({second} if what == "model" else set()), "of a model that was rolled back it is still there, should that be promoted again"
    assert roll_back(settings, "publication", "bad as well", actor="eve")["publication"]["to"] == first and seen(settings)[0] == ("ann", "i1", "recommender/1 (test)")
    assert len(rows(settings.shop_dsn, "SELECT FROM ops.publications")) == 3


def test_promoting_twice_is_once(shop):
    for _ in range(2):
        champions.promote(shop, version(1), "the first", "test")
    assert rows(shop.shop_dsn, "SELECT family, version, until FROM analytics.champions") == [("recommender", "1", None)]
    assert len(rows(shop.shop_dsn, "SELECT FROM ops.audit_log WHERE action = 'promote'")) == 1


def test_readers_in_a_loop_see_whole_publications_only(shop_of_two):
    settings, *_ = shop_of_two
    found, errors, stop = set(), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                found.add(seen(settings))
            except Exception as error:  # any at all is a failure
                errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    slowest = 0.0
    for number in range(10):
        began = time.monotonic()
        roll_back(settings, "both", "back and forth", actor="eve")
        slowest = max(slowest, time.monotonic() - began)
        champions.promote(settings, version(10 + number), "again", "test")
        publish(settings, f"again {number}", 10 + number, BAD)
    stop.set()
    for reader in readers:
        reader.join()
    assert errors == [] and slowest < 5
    models = [{model for _, _, model in state} for state in found]
    assert all(len(state) == 2 and len(model) == 1 for state, model in zip(found, models, strict=True)) and len(found) > 2
