-- DuckDB. One row per buyer of the users $1 to $2, from everything they bought in the window; users, products, categories and brands are
-- numbers (numbered.sql). Some users at a time: what is grouped here has many rows a user, and memory must not grow with the shop.
WITH mine AS (
    SELECT * FROM bought WHERE user_id BETWEEN $1 AND $2
),
weekdays AS (
    SELECT user_id, arg_min(weekday, (-orders, weekday)) AS usual_weekday, max(orders) / sum(orders) AS weekday_share
    FROM (SELECT user_id, isodow(event_day) AS weekday, count(*) AS orders FROM orders WHERE user_id BETWEEN $1 AND $2 GROUP BY ALL) GROUP BY user_id
),
hours AS (
    SELECT user_id, arg_min(hour, (-bought, hour)) AS usual_hour FROM (SELECT user_id, hour, count(*) AS bought FROM mine GROUP BY ALL) GROUP BY user_id
),
kinds AS (
    SELECT user_id, count(DISTINCT item_id) AS distinct_items FROM mine GROUP BY user_id
),
by_category AS (
    SELECT user_id, category, count(*) AS bought FROM mine JOIN items USING (item_id) WHERE category IS NOT NULL GROUP BY ALL
),
best_categories AS (
    SELECT user_id, total, unnest(best) AS place FROM (SELECT user_id, sum(bought) AS total, max(place(bought, category), 5) AS best FROM by_category GROUP BY user_id)
),
categories AS (
    SELECT user_id, '{' || string_agg(quoted(name), ',' ORDER BY place DESC) || '}' AS names,
           '{' || string_agg((bought_at(place) / total)::FLOAT::VARCHAR, ',' ORDER BY place DESC) || '}' AS shares
    FROM best_categories JOIN category_names ON number = number_at(place) GROUP BY user_id
),
by_level AS (
    SELECT user_id, first_level, sum(bought) AS bought FROM by_category JOIN category_names ON number = category GROUP BY ALL
),
leanings AS (  -- the strongest by log-likelihood, of at least three purchases and a quarter more than the shop's mix
    SELECT user_id, arg_min(first_level, (-bought * ln(times), first_level)) AS first_level, arg_min(times, (-bought * ln(times), first_level)) AS times
    FROM (SELECT user_id, first_level, bought, (bought / total) / share AS times
          FROM by_level JOIN (SELECT user_id, sum(bought) AS total FROM by_level GROUP BY user_id) USING (user_id)
          JOIN mix USING (first_level) WHERE bought >= 3)
    WHERE times >= 1.25 GROUP BY user_id
),
best_brands AS (
    SELECT user_id, total, unnest(best) AS place
    FROM (SELECT user_id, sum(bought) AS total, max(place(bought, brand), 3) AS best
          FROM (SELECT user_id, brand, count(*) AS bought FROM mine JOIN items USING (item_id) WHERE brand IS NOT NULL GROUP BY ALL) GROUP BY user_id)
),
brands AS (
    SELECT user_id, '{' || string_agg(quoted(name), ',' ORDER BY place DESC) || '}' AS names,
           '{' || string_agg((bought_at(place) / total)::FLOAT::VARCHAR, ',' ORDER BY place DESC) || '}' AS shares
    FROM best_brands JOIN brand_names ON number = number_at(place) GROUP BY user_id
)
SELECT publication_id, name AS user_id, first_purchase, last_purchase, day - last_purchase AS days_since_last, orders, items_bought, distinct_items,
       spend, spend / orders AS average_order, days_between,
       CASE WHEN day - first_purchase < 28 THEN 'new' WHEN day - last_purchase < 28 THEN 'active' WHEN day - last_purchase < 56 THEN 'cooling' ELSE 'lapsed' END AS lifecycle,
       coalesce(c.names, '{}') AS top_categories, coalesce(c.shares, '{}') AS category_shares, coalesce(b.names, '{}') AS top_brands, coalesce(b.shares, '{}') AS brand_shares,
       recency_score, frequency_score, value_score, p.level::FLOAT AS price_level, band AS price_band, p.discount_share::FLOAT AS discount_share,
       p.affinity::FLOAT AS discount_affinity, usual_weekday, weekday_share::FLOAT AS weekday_share, usual_hour,
       CASE WHEN coalesce(e.soonest, o.soonest) <= 28 THEN day + coalesce(e.soonest, o.soonest)::INT END AS next_from,
       CASE WHEN coalesce(e.latest, o.latest) <= 28 THEN day + coalesce(e.latest, o.latest)::INT END AS next_to,
       coalesce(e.lost, o.lost)::FLOAT AS churn_risk, l.first_level AS leans_to, l.times::FLOAT AS leaning
FROM scored JOIN users USING (user_id)
LEFT JOIN returns e ON e.exact AND e.class = rhythm
LEFT JOIN returns o ON NOT o.exact AND o.class = overdue(rhythm)
JOIN weekdays USING (user_id) JOIN hours USING (user_id) JOIN kinds USING (user_id)
LEFT JOIN categories c USING (user_id) LEFT JOIN brands b USING (user_id) LEFT JOIN leanings l USING (user_id)
LEFT JOIN prices p USING (user_id) LEFT JOIN bands USING (user_id)
WHERE scored.user_id BETWEEN $1 AND $2
ORDER BY scored.user_id
