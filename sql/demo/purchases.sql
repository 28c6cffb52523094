SELECT e.event_day AS day, i.title, i.brand, e.price, e.quantity
FROM analytics.events e
LEFT JOIN analytics.items i USING (item_id)
WHERE e.user_id = %(user_id)s AND e.event_type = 'purchase'
ORDER BY e.event_time DESC, e.event_id
LIMIT %(rows)s
