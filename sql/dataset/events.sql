-- What people did with items, oldest first within a user. The order is total and byte-wise, so the same rows give the same files.
SELECT user_id, item_id, (event_day - date '1970-01-01') AS day, extract(epoch FROM event_time)::bigint AS time, event_type
FROM core.events e
WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = ANY(%(event_types)s) AND item_id IS NOT NULL
  AND user_id NOT IN (SELECT user_id FROM ops.erased_users)
  AND NOT EXISTS (SELECT FROM core.bot_users b WHERE b.event_day = e.event_day AND b.user_id = e.user_id)
ORDER BY user_id COLLATE "C", event_time, event_id COLLATE "C"
