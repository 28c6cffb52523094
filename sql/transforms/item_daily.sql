-- DuckDB. A user is in one part only, so people add up too.
SELECT event_day, item_id, sum(impressions) AS impressions, sum(clicks) AS clicks, sum(carts) AS carts, sum(purchases) AS purchases,
       sum(removes) AS removes, sum(units) / 1e6 AS units, sum(revenue) / 1e6 AS revenue, sum(users) AS users, sum(buyers) AS buyers
FROM item_parts
GROUP BY event_day, item_id
ORDER BY event_day, item_id
