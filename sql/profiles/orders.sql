-- Days with a purchase, per user: what the rhythm is measured on.
CREATE TEMP TABLE orders ON COMMIT DROP AS
SELECT user_id, event_day, count(*) AS items, sum(coalesce(price, 0) * coalesce(quantity, 1)) AS paid
FROM core.events
WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = 'purchase'
GROUP BY user_id, event_day
