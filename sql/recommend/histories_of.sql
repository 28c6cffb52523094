-- As histories.sql, of the users named.
SELECT user_id, item_id, (event_day - date '1970-01-01') AS day, date_part('epoch', event_time)::bigint AS time,
       array_position(%(event_types)s::text[], event_type)::smallint AS kind
FROM core.events
WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = ANY (%(event_types)s) AND item_id IS NOT NULL AND user_id = ANY (%(users)s)
