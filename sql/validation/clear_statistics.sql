DELETE FROM ops.day_statistics WHERE kind = %(kind)s AND day = %(day)s
