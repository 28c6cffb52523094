-- Partitions by range of day, with the first day after each.
SELECT n.nspname || '.' || c.relname AS partition, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([0-9-]+)')::date AS ends
FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE h.inhparent = %(table)s::regclass AND pg_get_expr(c.relpartbound, c.oid) LIKE 'FOR VALUES FROM%%'
ORDER BY ends
