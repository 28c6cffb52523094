-- First by user: that makes counting people cheap.
DELETE FROM core.item_daily WHERE event_day = ANY(%(days)s::date[]);
INSERT INTO core.item_daily (event_day, item_id, impressions, clicks, carts, purchases, removes, units, revenue, users, buyers)
SELECT event_day, item_id, sum(impressions), sum(clicks), sum(carts), sum(purchases), sum(removes), sum(units), sum(spend),
       count(*) FILTER (WHERE clicks + carts + purchases > 0), count(*) FILTER (WHERE purchases > 0)
FROM (
    SELECT event_day, item_id, user_id, count(*) FILTER (WHERE event_type = 'impression') AS impressions,
           count(*) FILTER (WHERE event_type = 'click') AS clicks, count(*) FILTER (WHERE event_type = 'cart') AS carts,
           count(*) FILTER (WHERE event_type = 'purchase') AS purchases, count(*) FILTER (WHERE event_type = 'remove') AS removes,
           sum(units) AS units, sum(spend) AS spend
    FROM visits
    WHERE item_id IS NOT NULL AND event_type <> 'search'
    GROUP BY event_day, item_id, user_id) AS people
GROUP BY event_day, item_id
ORDER BY event_day, item_id
