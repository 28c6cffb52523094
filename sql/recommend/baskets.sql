SELECT user_id, item_id FROM core.events WHERE event_day = %(day)s AND event_type = 'purchase' AND item_id IS NOT NULL
