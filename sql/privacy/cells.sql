-- A text, JSON or array column's cells that hold one of the ids, and where they are.
SELECT tableoid, ctid::text AS ctid, {column} AS cell FROM {table}
WHERE {column}::text LIKE ANY (%(everywhere)s::text[]) OR (%(words)s::text IS NOT NULL AND {column}::text ~ %(words)s)
FOR UPDATE
