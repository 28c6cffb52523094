SET LOCAL client_connection_check_interval = '2s';
SET LOCAL maintenance_work_mem = '256MB';
SELECT ops.index_like(%(leaf)s, 'core.events');
ANALYZE {leaf}
