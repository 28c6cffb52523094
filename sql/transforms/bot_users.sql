-- DuckDB. Users who searched and clicked as no person does. Impressions and baskets are not counted: a page shows, and a till
-- books, many items at once.
SELECT event_day, user_id, actions, busiest_minute, active_hours,
       CASE WHEN busiest_minute > $a_minute THEN 'searches and clicks in one minute: ' || busiest_minute
            WHEN actions > $a_day THEN 'searches and clicks in the day: ' || actions
            ELSE 'hours of the day with a search or click: ' || active_hours END AS reason
FROM (
    SELECT event_day, user_id, sum(actions)::INTEGER AS actions, max(actions)::INTEGER AS busiest_minute,
           count(DISTINCT date_trunc('hour', minute))::INTEGER AS active_hours
    FROM (SELECT event_day, user_id, date_trunc('minute', event_time) AS minute, count(*) AS actions
          FROM part
          WHERE event_type IN ('search', 'click')
          GROUP BY ALL) AS minutes
    GROUP BY event_day, user_id) AS users
WHERE busiest_minute > $a_minute OR actions > $a_day OR active_hours > $hours
ORDER BY event_day, user_id
