DELETE FROM ops.rejected_rows WHERE kind = %(kind)s AND day = %(day)s
