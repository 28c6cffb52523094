"""Training reads what recipes/features.toml lists, and nothing that tells who a person is."""

import tomllib

import pytest

from ecomrec import database, dataset, features
from ecomrec.errors import AuditFailed

LISTED = tomllib.loads(features.FILE.read_text(encoding="utf-8"))
PARAMETERS = {"first": "2017-01-01", "last": "2017-03-31", "first_day": "2017-01-01", "day": "2017-03-31", "event_types": ["purchase"], "purchase": 3, "cart": 2, "click": 1, "most": 10, "valid": "2017-01-01", "test": "2017-01-01"}
PERSONAL = {"name", "email", "phone", "address", "birth", "gender", "age", "religion", "health", "ip", "session_id", "context"}


@pytest.mark.parametrize("source", sorted(LISTED))
def test_every_statement_of_training_gives_what_is_listed(shop, source):
    with database.connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        database.execute(connection, "labels/examined", PARAMETERS)  # a table that two of them read
        cursor.execute(f"SELECT * FROM ({database.text(source).strip().rstrip(';')}) AS read LIMIT 0", PARAMETERS)
        assert {column.name for column in cursor.description} == set(LISTED[source])
        features.check(source, (column.name for column in cursor.description))
    assert all(len(purpose) > 0 for purpose in LISTED[source].values()) and not set(LISTED[source]) & PERSONAL


def test_a_column_that_nobody_reviewed_stops_the_data_set(shop, monkeypatch):
    read = database.text
    monkeypatch.setattr(database, "text", lambda name: read(name).replace("event_type\nFROM", "event_type, context::text AS context\nFROM") if name == "dataset/events" else read(name))
    with pytest.raises(AuditFailed, match=r"training would read context from sql/dataset/events\.sql"):
        dataset.build(shop, "2017-03-31", shop.home)
