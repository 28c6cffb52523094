-- Every table of this database but the system's, with the columns that could hold a user id. Partitions count as their parent;
-- a partition that is not attached yet is a table of its own. Nothing is listed by hand, so a new table is covered at once.
SELECT format('%%s.%%s', schema, name) AS name, kind,
       coalesce(array_agg(attribute) FILTER (WHERE attribute = 'user_id' AND content = 'text'), '{{}}') AS users,
       coalesce(array_agg(attribute) FILTER (WHERE content IN ('text', 'texts')), '{{}}')              AS texts,
       coalesce(array_agg(attribute) FILTER (WHERE content = 'json'), '{{}}')                          AS jsons,
       coalesce(array_agg(attribute) FILTER (WHERE content IS NULL), '{{}}')                           AS others
FROM (
    SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind, a.attname::text AS attribute,
           CASE WHEN t.typcategory = 'S' THEN 'text' WHEN t.typname IN ('json', 'jsonb') THEN 'json'
                WHEN t.typcategory = 'A' AND e.typcategory = 'S' THEN 'texts' END AS content
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_type e ON e.oid = t.typelem
    WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%%'
) AS columns
GROUP BY schema, name, kind
ORDER BY kind = 'm', name
