"""The public sets that the recommender is measured on, as data sets of the product (`ecomrec.dataset`).

`amazon-*` and any other folder with interactions.parquet (user_id, item_id, timestamp in seconds) and items.parquet
(item_id, title) are split by user, as the literature does; `completejourney` and `online-retail` by time, as the product.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from ecomrec import dataset
from ecomrec.errors import InputError
from ecomrec.replay import completejourney, online_retail
from ecomrec.settings import Settings

FOLDER = Path(os.environ.get("ECOMREC_BENCHMARK_DATA", "data"))
EVENTS = """SELECT user_id, item_id, date_diff('day', DATE '1970-01-01', CAST(time AS DATE))::INTEGER AS day, epoch(time)::BIGINT AS time, 'purchase' AS event_type
            FROM ({rows}) ORDER BY user_id, time, number"""

COMPLETEJOURNEY_ITEMS = """SELECT CAST(product_id AS VARCHAR) AS item_id, title, replace(department, '/', ' & ') || '/' || replace(coalesce(product_category, 'OTHER'), '/', ' & ') AS category,
                           brand || ' ' || manufacturer_id AS brand FROM products ORDER BY item_id"""


def build(settings: Settings, name: str, folder: Path) -> dict:
    """Writes the data set `name` into `folder`; returns its meta. Raises InputError where the files are absent."""
    connection = duckdb.connect()
    if name == "completejourney":
        completejourney.days(connection, "2017-01-01", "2017-12-31", None)
        rows = "SELECT CAST(household_id AS VARCHAR) AS user_id, CAST(product_id AS VARCHAR) AS item_id, transaction_timestamp AS time, number FROM bought WHERE dt <= '2017-12-31'"
        items = COMPLETEJOURNEY_ITEMS
    elif name == "online-retail":
        path = _file(name, "transactions.parquet")
        online_retail.days(connection, "2009-01-01", "2011-12-31", path)
        online_retail.catalog(connection, "2011-12-31", "", "", path)
        rows = """SELECT CAST(CAST(customer_id AS BIGINT) AS VARCHAR) AS user_id, CAST(stockcode AS VARCHAR) AS item_id, CAST(invoicedate AS TIMESTAMP) AS time, number
                  FROM lines WHERE quantity > 0 AND customer_id IS NOT NULL AND NOT starts_with(CAST(invoice AS VARCHAR), 'C')"""
        items = "SELECT item_id, record->>'title' AS title, '' AS category, '' AS brand FROM catalog ORDER BY item_id"
    else:
        rows = f"""SELECT CAST(user_id AS VARCHAR) AS user_id, CAST(item_id AS VARCHAR) AS item_id, make_timestamp(timestamp * 1000000) AS time, file_row_number AS number
                   FROM read_parquet('{_file(name, "interactions.parquet")}', file_row_number = true)"""
        items = f"""SELECT CAST(item_id AS VARCHAR) AS item_id, coalesce(title, '') AS title, '' AS category, '' AS brand
                    FROM read_parquet('{_file(name, "items.parquet")}') ORDER BY item_id"""
    events = _table(connection, EVENTS.format(rows=rows))
    last = datetime.fromtimestamp(int(events["time"].to_numpy().max()), UTC).date().isoformat()
    return dataset.write(settings, last, events, _table(connection, items), folder, by_user=name not in ("completejourney", "online-retail"))


def _table(connection, query: str) -> pa.Table:
    return connection.sql(query).to_arrow_table()


def _file(name: str, file: str) -> Path:
    path = FOLDER / name / file
    if not path.is_file():
        raise InputError(f"the data set {name} is not there: {path}", "set ECOMREC_BENCHMARK_DATA to the folder that holds it")
    return path
