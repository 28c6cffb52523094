-- The packages of the last training run that found something changed.
SELECT detail -> 'packages' AS packages FROM ops.audit_log WHERE action = 'dependencies' ORDER BY at DESC LIMIT 1
