"""Online Retail (UCI, CC BY 4.0): the invoices of a British gift shop, from a Parquet or CSV file that the user passes.

Nothing is simulated: the set has no searches, so only purchases and cancellations (`remove`) come out. Its dirt stays:
a fifth of the lines name no customer and break the contract, lines that were delivered twice carry the same event_id.
"""

from pathlib import Path

import duckdb

from ecomrec.errors import InputError

COVERS = "2009-12-01 to 2011-12-09 (less, if the file is a part of it)"
NOTE = ("online-retail: about a fifth of the lines name no customer and will be rejected; "
        "load its days with ECOMREC_MAX_REJECTED_SHARE=0.9")
# The set is in circulation with two spellings of its header.
COLUMNS = {"invoice": ("invoiceno", "invoice"), "code": ("stockcode",), "description": ("description",), "quantity": ("quantity",),
           "time": ("invoicedate",), "price": ("unitprice", "price"), "customer": ("customerid",), "country": ("country",)}
GOODS = "^[0-9]{5}"  # other stock codes are postage, bank charges, samples, adjustments
PRICES_A_DAY = 200  # price changes in one delta, the largest first


def days(connection: duckdb.DuckDBPyConnection, first: str, last: str, path: Path | None) -> list[str]:
    """Makes the table `sales` from the file; returns the days with invoices. Raises InputError naming the file."""
    if path is None or not path.is_file():
        raise InputError(f"online-retail is read from a file, and {path or 'none'} is not one",
                         "download Online Retail II from the UCI repository and pass it: --path transactions.parquet (or .csv)")
    source = "read_parquet(?)" if path.suffix == ".parquet" else "read_csv(?, all_varchar = true, header = true)"
    try:
        found = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}", [str(path)]).fetchall()]
        names = {column.lower().replace(" ", "").replace("_", ""): column for column in found}
        chosen = {field: next((names[name] for name in spellings if name in names), None) for field, spellings in COLUMNS.items()}
        if missing := [COLUMNS[field][0] for field, column in chosen.items() if column is None]:
            raise InputError(f"{path} has no column {', '.join(missing)}", f"it has {', '.join(found)}; pass the Online Retail file as it came")
        listed = ", ".join(f'CAST("{column}" AS VARCHAR) AS {field}' for field, column in chosen.items())
        connection.execute(f"""
            CREATE TABLE sales AS
            SELECT CAST(time AS TIMESTAMP) AS event_time, CAST(time AS DATE) AS dt, invoice, code, CASE WHEN lower(trim(description)) NOT IN ('', 'nan') THEN trim(description) END AS description,
                   CAST(quantity AS DOUBLE) AS quantity, CAST(price AS DOUBLE) AS price,
                   nullif(regexp_replace(customer, '\\.0$', ''), '') AS customer, country,
                   -- The line itself is its id: the same line in two deliveries is one event.
                   md5(concat_ws('|', invoice, code, CAST(time AS TIMESTAMP), CAST(quantity AS DOUBLE), CAST(price AS DOUBLE), customer)) AS event_id
            FROM (SELECT {listed} FROM {source}) WHERE regexp_matches(code, '{GOODS}') AND CAST(price AS DOUBLE) >= 0""", [str(path)])
    except duckdb.Error as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}", "pass the Online Retail file, as .parquet or .csv") from error
    rows = connection.execute("SELECT DISTINCT dt FROM sales WHERE dt BETWEEN ?::DATE AND ?::DATE ORDER BY 1", [first, last]).fetchall()
    return [str(day) for (day,) in rows]


def catalog(connection: duckdb.DuckDBPyConnection, snapshot_day: str | None, first: str, last: str, path: Path | None) -> None:
    """A snapshot on `snapshot_day` of all goods that customers paid for, then a delta of the prices that moved by more than a half.

    The shop has no categories; they are made from the last word of the title ("JUMBO BAG" is a BAG), which is what most
    of its titles end on, and say so in `attributes`. Words that fewer than ten goods end on become OTHER.
    """
    connection.execute("""
        CREATE TABLE prices AS
        SELECT code, dt, round(median(price), 2) AS price FROM sales WHERE quantity > 0 AND price > 0 GROUP BY code, dt;
        CREATE TABLE titles AS
        SELECT code, coalesce(arg_max(description, (times, description)), code) AS title FROM (
            -- Staff notes ("damaged", "lost in space") stand on lines that no customer paid for.
            SELECT code, description, count(*) AS times FROM sales WHERE price > 0 AND quantity > 0 GROUP BY code, description)
        GROUP BY code;
        CREATE TABLE goods AS
        SELECT code, title, CASE WHEN count(*) OVER (PARTITION BY noun) >= 10 THEN noun ELSE 'OTHER' END AS noun
        FROM (SELECT *, coalesce(nullif(regexp_extract(upper(title), '([A-Z]{3,})[^A-Z]*$', 1), ''), 'OTHER') AS noun FROM titles)""")
    connection.execute(f"""
        CREATE TABLE moved AS
        SELECT code, dt, price FROM (SELECT *, lag(price) OVER (PARTITION BY code ORDER BY dt) AS before FROM prices)
        WHERE abs(price / before - 1) > 0.5 AND dt BETWEEN ?::DATE AND ?::DATE AND dt > coalesce(?::DATE, DATE '1970-01-01')
        QUALIFY row_number() OVER (PARTITION BY dt ORDER BY abs(price / before - 1) DESC, code) <= {PRICES_A_DAY}""", [first, last, snapshot_day])
    connection.execute("""
        CREATE TABLE said AS
        SELECT ?::DATE AS dt, 'snapshot' AS kind, code,
               coalesce((SELECT arg_max(p.price, p.dt) FROM prices p WHERE p.code = goods.code AND p.dt <= ?::DATE),
                        (SELECT arg_min(p.price, p.dt) FROM prices p WHERE p.code = goods.code)) AS price
        FROM goods WHERE ?::DATE IS NOT NULL
        UNION ALL SELECT dt, 'delta', code, price FROM moved""", [snapshot_day] * 3)
    connection.execute("""
        CREATE TABLE catalog AS
        SELECT dt, kind, code AS item_id, to_json({item_id: code, title: title, category: 'GIFTS/' || noun, price: price, currency: 'GBP',
               attributes: {category_from: 'title'}, in_stock: true, updated_at: strftime(dt, '%Y-%m-%dT00:00:00Z'), deleted: false}) AS record
        FROM said JOIN goods USING (code)""")


def events(connection: duckdb.DuckDBPyConnection, first: str, last: str, path: Path | None) -> None:
    """Invoice lines as purchases, cancelled and returned ones as `remove`. Times are the shop's clock, taken as UTC."""
    connection.execute("""
        CREATE TABLE events AS
        SELECT dt, event_time, event_id, to_json({event_id: event_id, event_time: strftime(event_time, '%Y-%m-%dT%H:%M:%SZ'), user_id: customer,
               session_id: invoice, event_type: CASE WHEN invoice LIKE 'C%' OR quantity < 0 THEN 'remove' ELSE 'purchase' END, item_id: code,
               price: price, quantity: abs(quantity), context: {country: country}}) AS record
        FROM sales WHERE dt BETWEEN ?::DATE AND ?::DATE""", [first, last])
