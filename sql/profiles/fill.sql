-- One row per buyer, from everything bought in the window. Orders are days with a purchase.
INSERT INTO {partition}
WITH bought AS (
    SELECT e.user_id, e.event_time, e.item_id, e.price, i.category, i.brand
    FROM core.events e LEFT JOIN core.items i USING (item_id)
    WHERE e.event_day BETWEEN %(first_day)s AND %(day)s AND e.event_type = 'purchase'
),
buyers AS (
    SELECT user_id, min(event_day) AS first_purchase, max(event_day) AS last_purchase, count(*) AS orders, sum(items) AS items_bought, sum(paid) AS spend,
           (max(event_day) - min(event_day))::double precision / nullif(count(*) - 1, 0) AS days_between
    FROM orders GROUP BY user_id
),
scored AS (  -- fifths by share of users below: those who are alike get the same
    SELECT *, least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY last_purchase)))::smallint AS recency_score,
           least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY orders)))::smallint AS frequency_score,
           least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY spend)))::smallint AS value_score
    FROM buyers
),
weekdays AS (
    SELECT DISTINCT ON (user_id) user_id, extract(isodow FROM event_day)::smallint AS usual_weekday, (count(*) / sum(count(*)) OVER (PARTITION BY user_id))::real AS weekday_share
    FROM orders GROUP BY user_id, extract(isodow FROM event_day)::smallint ORDER BY user_id, count(*) DESC, usual_weekday
),
hours AS (
    SELECT DISTINCT ON (user_id) user_id, extract(hour FROM event_time AT TIME ZONE 'UTC')::smallint AS usual_hour
    FROM bought GROUP BY user_id, usual_hour ORDER BY user_id, count(*) DESC, usual_hour
),
kinds AS (
    SELECT user_id, count(DISTINCT item_id) AS distinct_items FROM bought GROUP BY user_id
),
by_category AS (
    SELECT user_id, category, split_part(category, '/', 1) AS first_level, count(*)::double precision AS bought FROM bought WHERE category IS NOT NULL GROUP BY user_id, category
),
categories AS (
    SELECT user_id, array_agg(category ORDER BY bought DESC, category) FILTER (WHERE place <= 5) AS names,
           array_agg((bought / total)::real ORDER BY bought DESC, category) FILTER (WHERE place <= 5) AS shares
    FROM (SELECT user_id, category, bought, sum(bought) OVER (PARTITION BY user_id) AS total,
                 row_number() OVER (PARTITION BY user_id ORDER BY bought DESC, category) AS place
          FROM by_category) AS ranked
    GROUP BY user_id
),
leanings AS (  -- the strongest by log-likelihood, of at least three purchases and a quarter more than the shop's mix
    SELECT DISTINCT ON (user_id) user_id, first_level, times
    FROM (SELECT user_id, first_level, bought, bought / sum(bought) OVER (PARTITION BY user_id)
                 / (sum(bought) OVER (PARTITION BY first_level) / sum(bought) OVER ()) AS times
          FROM (SELECT user_id, first_level, sum(bought) AS bought FROM by_category GROUP BY user_id, first_level) AS by_level) AS lifted
    WHERE bought >= 3 AND times >= 1.25
    ORDER BY user_id, bought * ln(times) DESC, first_level
),
brands AS (
    SELECT user_id, array_agg(brand ORDER BY place) FILTER (WHERE place <= 3) AS names, array_agg((bought / total)::real ORDER BY place) FILTER (WHERE place <= 3) AS shares
    FROM (SELECT user_id, brand, count(*)::double precision AS bought, sum(count(*)) OVER (PARTITION BY user_id) AS total,
                 row_number() OVER (PARTITION BY user_id ORDER BY count(*) DESC, brand) AS place
          FROM bought WHERE brand IS NOT NULL GROUP BY user_id, brand) AS ranked
    GROUP BY user_id
),
usual AS (  -- what a product costs on average, and how often it is bought for at least 5 percent less
    SELECT item_id, price, avg((paid < 0.95 * price)::integer)::double precision AS rate
    FROM (SELECT item_id, price AS paid, avg(price) OVER (PARTITION BY item_id) AS price FROM bought WHERE price > 0) AS paid
    GROUP BY item_id, price
),
levels AS (
    SELECT item_id, percent_rank() OVER (PARTITION BY category ORDER BY price) AS level FROM core.items WHERE price > 0 AND NOT deleted
),
prices AS (
    SELECT user_id, avg(level) AS level, avg((b.price < 0.95 * u.price)::integer) AS discount_share,
           (count(*) FILTER (WHERE b.price < 0.95 * u.price) + 1) / (sum(rate) + 1) AS affinity
    FROM bought b JOIN usual u USING (item_id) LEFT JOIN levels USING (item_id)
    WHERE b.price > 0 GROUP BY user_id
),
bands AS (
    SELECT *, CASE WHEN level IS NOT NULL THEN (ARRAY['low', 'middle', 'high'])[least(3, 1 + floor(3 * percent_rank() OVER (PARTITION BY level IS NULL ORDER BY level)))::integer] END AS band
    FROM prices
)
SELECT %(publication_id)s, user_id, first_purchase, last_purchase, %(day)s::date - last_purchase, orders, items_bought, distinct_items,
       spend, spend / orders, days_between,
       CASE WHEN %(day)s::date - first_purchase < 28 THEN 'new' WHEN %(day)s::date - last_purchase < 28 THEN 'active'
            WHEN %(day)s::date - last_purchase < 56 THEN 'cooling' ELSE 'lapsed' END,
       coalesce(c.names, '{{}}'), coalesce(c.shares, '{{}}'), coalesce(b.names, '{{}}'), coalesce(b.shares, '{{}}'), recency_score, frequency_score, value_score,
       p.level, p.band, p.discount_share, p.affinity, usual_weekday, weekday_share, usual_hour,
       CASE WHEN coalesce(e.soonest, o.soonest) <= 28 THEN %(day)s::date + coalesce(e.soonest, o.soonest) END,
       CASE WHEN coalesce(e.latest, o.latest) <= 28 THEN %(day)s::date + coalesce(e.latest, o.latest) END,
       coalesce(e.lost, o.lost), l.first_level, l.times
FROM scored
CROSS JOIN LATERAL recs.rhythm(days_between, %(day)s::date - last_purchase) AS rhythm
LEFT JOIN returns e ON e.exact AND e.class = rhythm
LEFT JOIN returns o ON NOT o.exact AND o.class = recs.overdue(rhythm)
JOIN weekdays USING (user_id) JOIN hours USING (user_id) JOIN kinds USING (user_id)
LEFT JOIN categories c USING (user_id) LEFT JOIN brands b USING (user_id) LEFT JOIN leanings l USING (user_id) LEFT JOIN bands p USING (user_id)
ORDER BY user_id
