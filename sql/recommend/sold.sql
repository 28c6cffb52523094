-- How much each product sold on the last days: events that count, times their weights, as training counts them.
SELECT item_id, sum((%(weights)s::real[])[array_position(%(event_types)s::text[], event_type)]) AS sold
FROM core.events e
WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = ANY (%(event_types)s) AND item_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM core.bot_users b WHERE b.event_day = e.event_day AND b.user_id = e.user_id)
GROUP BY item_id
