-- DuckDB. An element of a Postgres array.
CREATE MACRO quoted(word) AS '"' || replace(replace(word, '\', '\\'), '"', '\"') || '"';
