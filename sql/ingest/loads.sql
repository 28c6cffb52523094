SELECT day, state, rows_read, rows_loaded, rows_rejected, rows_dropped, rows_duplicate, seconds, actor, reason
FROM analytics.loads WHERE kind = %(kind)s ORDER BY day
