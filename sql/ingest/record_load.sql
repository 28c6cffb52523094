INSERT INTO ops.loads (kind, day, state, files, rows_read, rows_loaded, rows_rejected, seconds, reason)
VALUES (%(kind)s, %(day)s, %(state)s, %(files)s, %(rows_read)s, %(rows_loaded)s, %(rows_rejected)s, %(seconds)s, %(reason)s)
