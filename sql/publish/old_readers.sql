-- Statements that were planned before the new partitions were attached, and so would not find them.
SELECT DISTINCT a.pid
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.relation IN (SELECT to_regclass(name) FROM unnest(%(tables)s) AS name) AND l.mode = 'AccessShareLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND a.pid <> pg_backend_pid() AND a.state = 'active' AND a.query_start <= %(attached_at)s
