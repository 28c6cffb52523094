-- DuckDB. Days with a purchase, per user: what the rhythm is measured on. Money in whole millionths: several threads sum it as one does.
CREATE TABLE orders AS
SELECT user_id, event_day, count(*) AS items, sum(round(coalesce(price, 0) * coalesce(quantity, 1) * 1e6)::BIGINT) AS paid
FROM bought
GROUP BY user_id, event_day
