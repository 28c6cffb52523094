-- DuckDB. One row per buyer, from everything bought in the window; users, products, categories and brands are numbers (numbered.sql). Orders are days with a purchase. Means are of whole numbers, so that
-- several threads give the same as one.
WITH buyers AS (
    SELECT user_id, min(event_day) AS first_purchase, max(event_day) AS last_purchase, count(*) AS orders, sum(items) AS items_bought, sum(paid) / 1e6 AS spend,
           (max(event_day) - min(event_day)) / nullif(count(*) - 1, 0) AS days_between
    FROM orders GROUP BY user_id
),
scored AS (  -- fifths by share of users below: those who are alike get the same
    SELECT *, least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY last_purchase)))::SMALLINT AS recency_score,
           least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY orders)))::SMALLINT AS frequency_score,
           least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY spend)))::SMALLINT AS value_score,
           rhythm(days_between, day - last_purchase) AS rhythm
    FROM buyers, asked
),
weekdays AS (
    SELECT user_id, arg_min(weekday, (-orders, weekday)) AS usual_weekday, max(orders) / sum(orders) AS weekday_share
    FROM (SELECT user_id, isodow(event_day) AS weekday, count(*) AS orders FROM orders GROUP BY ALL) GROUP BY user_id
),
hours AS (
    SELECT user_id, arg_min(hour, (-bought, hour)) AS usual_hour FROM (SELECT user_id, hour, count(*) AS bought FROM bought GROUP BY ALL) GROUP BY user_id
),
kinds AS (
    SELECT user_id, count(DISTINCT item_id) AS distinct_items FROM bought GROUP BY user_id
),
by_category AS (
    SELECT user_id, category, count(*) AS bought FROM bought JOIN items USING (item_id) WHERE category IS NOT NULL GROUP BY ALL
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
          JOIN (SELECT first_level, sum(bought) / (SELECT sum(bought) FROM by_level) AS share FROM by_level GROUP BY first_level) USING (first_level) WHERE bought >= 3)
    WHERE times >= 1.25 GROUP BY user_id
),
best_brands AS (
    SELECT user_id, total, unnest(best) AS place
    FROM (SELECT user_id, sum(bought) AS total, max(place(bought, brand), 3) AS best
          FROM (SELECT user_id, brand, count(*) AS bought FROM bought JOIN items USING (item_id) WHERE brand IS NOT NULL GROUP BY ALL) GROUP BY user_id)
),
brands AS (
    SELECT user_id, '{' || string_agg(quoted(name), ',' ORDER BY place DESC) || '}' AS names,
           '{' || string_agg((bought_at(place) / total)::FLOAT::VARCHAR, ',' ORDER BY place DESC) || '}' AS shares
    FROM best_brands JOIN brand_names ON number = number_at(place) GROUP BY user_id
),
paid AS (  -- less than 95 percent of what the product costs on average is a discount
    SELECT user_id, item_id, price < 0.95 * usual AS cheap
    FROM bought JOIN (SELECT item_id, sum(round(price * 1e6)::BIGINT) / count(*) / 1e6 AS usual FROM bought WHERE price > 0 GROUP BY item_id) USING (item_id)
    WHERE price > 0
),
rates AS (
    SELECT item_id, round(1e6 * count(*) FILTER (WHERE cheap) / count(*))::BIGINT AS rate FROM paid GROUP BY item_id
),
levels AS (
    SELECT item_id, round(1e6 * percent_rank() OVER (PARTITION BY category ORDER BY price))::BIGINT AS level FROM items WHERE price > 0 AND NOT deleted
),
prices AS (
    SELECT user_id, sum(level) / count(level) / 1e6 AS level, count(*) FILTER (WHERE cheap) / count(*) AS discount_share,
           (count(*) FILTER (WHERE cheap) + 1) / (sum(rate) / 1e6 + 1) AS affinity
    FROM paid JOIN rates USING (item_id) LEFT JOIN levels USING (item_id) GROUP BY user_id
),
bands AS (
    SELECT user_id, CASE least(2, floor(3 * percent_rank() OVER (ORDER BY level))) WHEN 0 THEN 'low' WHEN 1 THEN 'middle' ELSE 'high' END AS band
    FROM prices WHERE level IS NOT NULL
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
ORDER BY scored.user_id
