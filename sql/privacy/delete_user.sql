DELETE FROM {table} WHERE user_id = ANY (%(ids)s)
