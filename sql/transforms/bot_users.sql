-- Users who searched and clicked as no person does. Impressions and baskets are not counted: a page shows, and a till books,
-- many items at once.
DELETE FROM {target} WHERE event_day = ANY(%(days)s::date[]);
INSERT INTO {target} (event_day, user_id, actions, busiest_minute, active_hours, reason)
SELECT event_day, user_id, actions, busiest_minute, active_hours,
       CASE WHEN busiest_minute > %(a_minute)s THEN 'searches and clicks in one minute: ' || busiest_minute
            WHEN actions > %(a_day)s THEN 'searches and clicks in the day: ' || actions
            ELSE 'hours of the day with a search or click: ' || active_hours END
FROM (
    SELECT event_day, user_id, sum(actions)::integer AS actions, max(actions)::integer AS busiest_minute,
           count(DISTINCT date_trunc('hour', minute, 'UTC'))::integer AS active_hours
    FROM (SELECT event_day, user_id, date_trunc('minute', event_time, 'UTC') AS minute, count(*) AS actions
          FROM {source}
          WHERE event_day = ANY(%(days)s::date[]) AND event_type IN ('search', 'click')
          GROUP BY event_day, user_id, minute) AS minutes
    GROUP BY event_day, user_id) AS users
WHERE busiest_minute > %(a_minute)s OR actions > %(a_day)s OR active_hours > %(hours)s
ORDER BY event_day, user_id
