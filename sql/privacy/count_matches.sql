-- Rows that hold one of the ids in any column: a whole row as text for pseudonyms, which nothing else can look like; text columns for ids as they came.
SELECT count(*) AS matches FROM {table} AS r
WHERE r::text LIKE ANY (%(everywhere)s::text[])
   OR (%(words)s::text IS NOT NULL AND (to_jsonb(r) - %(others)s::text[])::text ~ %(words)s)
