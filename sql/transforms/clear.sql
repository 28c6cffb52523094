DELETE FROM {table} WHERE event_day = ANY(%(days)s::date[])
