-- What the users of one shard bought, oldest first. The order is total, so the same rows give the same lists.
SELECT user_id, item_id, (event_day - date '1970-01-01') AS day, extract(epoch FROM event_time)::bigint AS time
FROM core.events
WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = 'purchase' AND item_id IS NOT NULL
  AND user_id >= %(first_user)s AND (%(next_user)s::text IS NULL OR user_id < %(next_user)s)
ORDER BY user_id, event_time, event_id
