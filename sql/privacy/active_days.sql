SELECT min(event_day) AS first, max(event_day) AS last FROM core.events WHERE user_id = ANY (%(ids)s)
