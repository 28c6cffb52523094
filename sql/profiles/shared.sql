-- DuckDB. What a profile compares its user with: all users, the products' usual prices, the shop's mix. One row per user or product at most.
-- Means are of whole numbers, so that several threads give the same as one.
CREATE TABLE scored AS
WITH buyers AS (
    SELECT user_id, min(event_day) AS first_purchase, max(event_day) AS last_purchase, count(*) AS orders, sum(items) AS items_bought, sum(paid) / 1e6 AS spend,
           (max(event_day) - min(event_day)) / nullif(count(*) - 1, 0) AS days_between
    FROM orders GROUP BY user_id
)
-- fifths by share of users below: those who are alike get the same
SELECT *, least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY last_purchase)))::SMALLINT AS recency_score,
       least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY orders)))::SMALLINT AS frequency_score,
       least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY spend)))::SMALLINT AS value_score,
       rhythm(days_between, day - last_purchase) AS rhythm
FROM buyers, asked;
CREATE TABLE mix AS
SELECT first_level, count(*) / sum(count(*)) OVER () AS share FROM bought JOIN items USING (item_id) JOIN category_names ON number = category GROUP BY first_level;
CREATE TABLE prices AS
WITH paid AS (  -- less than 95 percent of what the product costs on average is a discount
    SELECT user_id, item_id, price < 0.95 * usual AS cheap
    FROM bought JOIN (SELECT item_id, sum(round(price * 1e6)::BIGINT) / count(*) / 1e6 AS usual FROM bought WHERE price > 0 GROUP BY item_id) USING (item_id)
    WHERE price > 0
),
rates AS (
    SELECT item_id, round(1e6 * count(*) FILTER (WHERE cheap) / count(*))::BIGINT AS rate FROM paid GROUP BY item_id
),
levels AS (
    SELECT item_id, round(1e6 * percent_rank() OVER (PARTITION BY category ORDER BY price))::BIGINT AS level FROM items WHERE price > 0 AND NOT deleted
)
SELECT user_id, sum(level) / count(level) / 1e6 AS level, count(*) FILTER (WHERE cheap) / count(*) AS discount_share,
       (count(*) FILTER (WHERE cheap) + 1) / (sum(rate) / 1e6 + 1) AS affinity
FROM paid JOIN rates USING (item_id) LEFT JOIN levels USING (item_id) GROUP BY user_id;
CREATE TABLE bands AS
SELECT user_id, CASE least(2, floor(3 * percent_rank() OVER (ORDER BY level))) WHEN 0 THEN 'low' WHEN 1 THEN 'middle' ELSE 'high' END AS band
FROM prices WHERE level IS NOT NULL;
