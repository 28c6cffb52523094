-- What was bought, and by which campaign it was redeemed.
SELECT user_id, event_day, item_id, price, quantity, nullif(context->>'campaign', '') AS campaign
FROM core.events
WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = 'purchase' AND item_id IS NOT NULL
