-- What was bought in the window; the rest is DuckDB's.
SELECT user_id, event_day, extract(hour FROM event_time AT TIME ZONE 'UTC')::smallint AS hour, item_id, price, quantity
FROM core.events
WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = 'purchase'
