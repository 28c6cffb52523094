SELECT detail -> 'result' AS result FROM ops.audit_log WHERE action = 'rollback' AND detail ->> 'request' = %(request)s
