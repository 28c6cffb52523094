-- DuckDB. One day's baskets.
SELECT "user", item FROM bought WHERE age = ?
