-- DuckDB. Of some of the users, first by user: that makes counting people cheap.
SELECT event_day, item_id, sum(impressions) AS impressions, sum(clicks) AS clicks, sum(carts) AS carts, sum(purchases) AS purchases,
       sum(removes) AS removes, sum(units) AS units, sum(spend) AS revenue,
       count(*) FILTER (WHERE clicks + carts + purchases > 0) AS users, count(*) FILTER (WHERE purchases > 0) AS buyers
FROM (
    SELECT event_day, item_id, user_id, count(*) FILTER (WHERE event_type = 'impression') AS impressions,
           count(*) FILTER (WHERE event_type = 'click') AS clicks, count(*) FILTER (WHERE event_type = 'cart') AS carts,
           count(*) FILTER (WHERE event_type = 'purchase') AS purchases, count(*) FILTER (WHERE event_type = 'remove') AS removes,
           sum(units) AS units, sum(spend) AS spend
    FROM visits
    WHERE item_id IS NOT NULL AND event_type <> 'search'
    GROUP BY event_day, item_id, user_id) AS people
GROUP BY event_day, item_id
