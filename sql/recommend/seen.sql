-- What the users of a shard saw: impressions and clicks.
SELECT user_id, item_id, (event_day - date '1970-01-01') AS day, date_part('epoch', event_time)::bigint AS time,
       array_position(%(event_types)s::text[], 'purchase')::smallint AS kind  -- read as if bought: what is asked is when
FROM core.events
WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type IN ('impression', 'click') AND item_id IS NOT NULL
  AND user_id >= %(first_user)s AND (%(next_user)s::text IS NULL OR user_id < %(next_user)s)
