-- What the users of one shard did with products, of the kinds that count, but for those who keep their lists. Not sorted: the reader sorts numbers, which is faster than sorting texts here.
SELECT user_id, item_id, (event_day - date '1970-01-01') AS day, date_part('epoch', event_time)::bigint AS time,
       array_position(%(event_types)s::text[], event_type)::smallint AS kind
FROM core.events e
WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = ANY (%(event_types)s) AND item_id IS NOT NULL
  AND user_id >= %(first_user)s AND (%(next_user)s::text IS NULL OR user_id < %(next_user)s)
  AND NOT EXISTS (SELECT FROM kept WHERE kept.user_id = e.user_id)
