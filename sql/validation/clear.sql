DELETE FROM ops.validations WHERE kind = %(kind)s AND day = %(day)s
