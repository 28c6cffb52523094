-- Without those whose rows an erasure may be deleting just now.
SELECT event_day, event_id, event_time AT TIME ZONE 'UTC' || '+00' AS event_time, user_id, session_id, event_type, item_id, query, position, price, quantity,
       coalesce(context ->> 'simulated' = 'true', false) AS simulated
FROM core.events WHERE event_day = ANY(%(days)s::date[])
  AND user_id NOT IN (SELECT user_id FROM ops.erased_users)
