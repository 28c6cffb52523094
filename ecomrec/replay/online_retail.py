"""UCI Online Retail II: invoice lines of a UK gift shop, 2009-12 to 2011-12, from a Parquet or CSV file that the user passes.

Everything is real, dirt included: lines without a customer are written without `user_id` (the contract then sets them
aside), cancellations (`C…` invoices) become `remove` events. There are no searches.
"""

from pathlib import Path

import duckdb

from ecomrec.errors import InputError

COVERS = "2009-12-01 to 2011-12-09"
SAME = {"invoiceno": "invoice", "unitprice": "price", "customerid": "customer_id"}  # the set is about in two spellings
NEEDED = {"invoice", "stockcode", "description", "quantity", "invoicedate", "price", "customer_id", "country"}


def days(connection: duckdb.DuckDBPyConnection, first: str, last: str, path: Path | None) -> list[str]:
    """Reads the file; returns the days with invoice lines."""
    if path is None or not Path(path).is_file():
        raise InputError(f"online-retail needs its file, and {path} is not one", "pass --path to the data set's Parquet or CSV file (UCI, id 502)")
    reader = "read_parquet" if str(path).endswith(".parquet") else "read_csv"
    columns = connection.execute(f"SELECT * FROM {reader}(?) LIMIT 0", [str(path)]).description
    plain = {column[0]: column[0].lower().replace(" ", "_") for column in columns}
    names = {name: SAME.get(found, found) for name, found in plain.items()}
    if missing := NEEDED - set(names.values()):
        raise InputError(f"{path} lacks the columns {', '.join(sorted(missing))}", f"it has {', '.join(names)}")
    renamed = ", ".join(f'"{name}" AS {known}' for name, known in names.items())
    connection.execute(f"""
        CREATE TABLE lines AS SELECT *, CAST(invoicedate AS DATE) AS dt, row_number() OVER () AS number
        FROM (SELECT {renamed} FROM {reader}(?))""", [str(path)])
    found = connection.execute("SELECT DISTINCT dt FROM lines WHERE dt BETWEEN ?::DATE AND ?::DATE ORDER BY 1", [first, last]).fetchall()
    return [str(day) for (day,) in found]


def catalog(connection: duckdb.DuckDBPyConnection, snapshot_day: str | None, first: str, last: str, path: Path | None) -> None:
    """A snapshot of every stock code, with its most frequent description and its median price. The set has no categories."""
    connection.execute("""
        CREATE TABLE catalog AS
        SELECT ?::DATE AS dt, 'snapshot' AS kind, item_id, to_json({item_id: item_id, title: title, category: 'GIFTS/' || upper(split_part(title, ' ', -1)),
               price: price, currency: 'GBP', updated_at: strftime(?::DATE, '%Y-%m-%dT00:00:00Z')}) AS record
        FROM (SELECT CAST(stockcode AS VARCHAR) AS item_id, mode(trim(description)) AS title, round(median(price), 2) AS price
              FROM lines WHERE trim(description) <> '' AND price > 0 GROUP BY 1)
        WHERE ?::DATE IS NOT NULL""", [snapshot_day] * 3)


def events(connection: duckdb.DuckDBPyConnection, first: str, last: str, path: Path | None) -> None:
    """One event an invoice line."""
    connection.execute("""
        CREATE TABLE events AS
        SELECT dt, invoicedate AS event_time, 'o' || number AS event_id,
               to_json({event_id: 'o' || number, event_time: strftime(CAST(invoicedate AS TIMESTAMP), '%Y-%m-%dT%H:%M:%SZ'),
                        user_id: CAST(CAST(customer_id AS BIGINT) AS VARCHAR), session_id: CAST(invoice AS VARCHAR),
                        event_type: CASE WHEN starts_with(CAST(invoice AS VARCHAR), 'C') OR quantity < 0 THEN 'remove' ELSE 'purchase' END,
                        item_id: CAST(stockcode AS VARCHAR), price: price, quantity: abs(quantity), context: {country: country}}) AS record
        FROM lines WHERE dt BETWEEN ?::DATE AND ?::DATE""", [first, last])
