INSERT INTO ops.loads (kind, day, state, files, rows_read, rows_loaded, rows_rejected, rows_dropped, rows_duplicate, seconds, reason, actor, started_at,
                       reasons, stages, fields, changes)
VALUES (%(kind)s, %(day)s, %(state)s, %(files)s, %(rows_read)s, %(rows_loaded)s, %(rows_rejected)s, %(rows_dropped)s, %(rows_duplicate)s, %(seconds)s,
        %(reason)s, %(actor)s, now() - make_interval(secs => %(seconds)s), %(reasons)s, %(stages)s, %(fields)s, %(changes)s)
RETURNING load_id
