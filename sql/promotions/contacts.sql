-- Who was shown which campaign, and when.
SELECT DISTINCT user_id, event_day, context->>'campaign' AS campaign
FROM core.events
WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = 'impression' AND nullif(context->>'campaign', '') IS NOT NULL
