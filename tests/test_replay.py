"""A public data set becomes a shop's daily files: in the contract, the same bytes every time, simulated things marked."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from ecomrec import ingest
from ecomrec.errors import EcomrecError, InputError
from ecomrec.replay import searches, write
from ecomrec.settings import Settings
from tests.shopdata import rows

FIRST, LAST = "2017-07-01", "2017-07-04"


def settings_in(folder: Path) -> Settings:
    return Settings(_env_file=None, home=folder)


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "store").rglob("*.gz"))}


def records(folder: Path, key: str) -> list[dict]:
    with gzip.open(folder / "store" / "raw" / key, "rt") as stream:
        return [json.loads(line) for line in stream]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    write(settings_in(folder), "completejourney", FIRST, LAST, echo=lambda line: None)
    return folder


def test_the_same_call_writes_the_same_bytes(replayed, tmp_path):
    write(settings_in(tmp_path), "completejourney", FIRST, LAST, echo=lambda line: None)
    assert files(tmp_path) == files(replayed)
    assert len([key for key in files(replayed) if "/events/" in key]) == 4


def test_complete_days_are_left_alone_and_missing_ones_written(replayed, tmp_path):
    write(settings_in(tmp_path), "completejourney", FIRST, "2017-07-02", echo=lambda line: None)
    done = write(settings_in(tmp_path), "completejourney", FIRST, LAST, echo=lambda line: None)
    assert done["written"] == 2
    assert {key: value for key, value in files(tmp_path).items() if "/events/" in key} == {
        key: value for key, value in files(replayed).items() if "/events/" in key}
    assert write(settings_in(tmp_path), "completejourney", FIRST, LAST, echo=lambda line: None)["written"] == 0


def test_purchases_are_real_and_searches_are_marked_simulated(replayed):
    found = records(replayed, f"events/dt={FIRST}/events-000.jsonl.gz")
    kinds = {kind: [event for event in found if event["event_type"] == kind] for kind in ("purchase", "search", "click")}
    assert sum(map(len, kinds.values())) == len(found)
    assert len(kinds["search"]) == len(kinds["click"]) and 0.10 < len(kinds["search"]) / len(kinds["purchase"]) < 0.20
    assert all(event["context"]["simulated"] is True for kind in ("search", "click") for event in kinds[kind])
    assert not any("simulated" in event["context"] for event in kinds["purchase"])


def test_a_search_is_clicked_before_the_next_one_begins(replayed):
    """Interleaved, a third of the clicks would belong to the search of another product."""
    found = [event for event in records(replayed, f"events/dt={FIRST}/events-000.jsonl.gz") if event["event_type"] != "purchase"]
    ordered = sorted(found, key=lambda event: (event["session_id"], event["event_time"], event["event_type"] != "search"))
    pairs = list(zip(ordered[::2], ordered[1::2], strict=True))
    assert len(pairs) > 100 and all((search["event_type"], click["event_type"]) == ("search", "click") and search["query"] == click["query"]
                                    and search["session_id"] == click["session_id"] for search, click in pairs)


def test_what_it_writes_is_in_the_contract(shop):
    write(shop, "completejourney", FIRST, "2017-07-02", echo=lambda line: None)
    assert ingest.load_catalog_history(shop, FIRST, "2017-07-02", echo=lambda line: None)["rows_rejected"] == 0
    done = ingest.load_history(shop, FIRST, "2017-07-02", echo=lambda line: None)
    assert done["rows_rejected"] == 0 and done["rows_loaded"] == done["rows_read"] > 5000
    assert rows(shop.shop_dsn, "SELECT count(*) FROM core.events e LEFT JOIN core.items i USING (item_id) WHERE e.item_id IS NOT NULL AND i.item_id IS NULL") == [(0,)]


def test_a_query_is_the_same_for_the_same_purchase():
    made = {searches.query("ICE CREAM VANILLA 48 OZ", "Private 69", seed) for seed in range(200)}
    assert made == {searches.query("ICE CREAM VANILLA 48 OZ", "Private 69", seed) for seed in range(200)} and len(made) > 30
    assert all(query.strip() for query in made)


def test_an_unknown_data_set_lists_the_known_ones(tmp_path):
    with pytest.raises(EcomrecError, match="completejourney, online-retail"):
        write(settings_in(tmp_path), "movielens", FIRST, LAST)


def test_days_outside_the_data_set_say_what_it_covers(tmp_path):
    with pytest.raises(EcomrecError, match="2017-01-01 to 2018-01-01"):
        write(settings_in(tmp_path), "completejourney", "2020-01-01", "2020-01-02")


def test_online_retail_needs_its_file(tmp_path):
    with pytest.raises(InputError, match="--path"):
        write(settings_in(tmp_path), "online-retail", "2010-03-01", "2010-03-02")


def test_the_dirt_of_online_retail_is_accounted_for(shop, shared_data):
    path = shared_data / "online-retail" / "transactions.parquet"
    write(shop, "online-retail", "2010-03-01", "2010-03-02", path=path, echo=lambda line: None)
    patient = shop.model_copy(update={"max_rejected_share": 0.9})
    ingest.load_catalog(patient, "2010-03-01")
    done = ingest.load_history(patient, "2010-03-01", "2010-03-02", echo=lambda line: None)
    assert done["rows_read"] == done["rows_loaded"] + done["rows_rejected"] > 1000
    assert {reason for (reason,) in rows(shop.shop_dsn, "SELECT DISTINCT reason FROM ops.rejected_rows WHERE kind = 'events'")} == {"user_id is missing"}
    assert rows(shop.shop_dsn, "SELECT count(*) > 0 FROM core.events WHERE event_type = 'remove'") == [(True,)]
