-- pg_class is asked, not to_regclass(): that may remember that a name was unknown before another load made it.
SELECT parent AS table, partition, month AS first, (month + interval '1 month')::date AS next
FROM unnest(%(tables)s::text[]) AS parent
CROSS JOIN (SELECT DISTINCT date_trunc('month', day)::date AS month FROM unnest(%(days)s::date[]) AS day) AS months
CROSS JOIN LATERAL format('%%s_%%s', parent, to_char(month, 'YYYYMM')) AS partition
WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname || '.' || c.relname = partition)
ORDER BY parent, month
