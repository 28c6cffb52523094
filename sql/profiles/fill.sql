-- One row per buyer, from everything bought in the window. Orders are days with a purchase.
INSERT INTO {partition}
WITH bought AS (
    SELECT e.user_id, e.event_day, e.item_id, coalesce(e.price, 0) * coalesce(e.quantity, 1) AS paid, i.category, i.brand
    FROM core.events e LEFT JOIN core.items i USING (item_id)
    WHERE e.event_day BETWEEN %(first_day)s AND %(day)s AND e.event_type = 'purchase'
),
buyers AS (
    SELECT user_id, min(event_day) AS first_purchase, max(event_day) AS last_purchase, count(DISTINCT event_day) AS orders,
           count(*) AS items_bought, count(DISTINCT item_id) AS distinct_items, sum(paid) AS spend
    FROM bought GROUP BY user_id
),
categories AS (
    SELECT user_id, array_agg(category ORDER BY bought DESC, category) FILTER (WHERE place <= 5) AS names,
           array_agg((bought / total)::real ORDER BY bought DESC, category) FILTER (WHERE place <= 5) AS shares
    FROM (SELECT user_id, category, count(*)::double precision AS bought, sum(count(*)) OVER (PARTITION BY user_id) AS total,
                 row_number() OVER (PARTITION BY user_id ORDER BY count(*) DESC, category) AS place
          FROM bought WHERE category IS NOT NULL GROUP BY user_id, category) AS ranked
    GROUP BY user_id
),
brands AS (
    SELECT user_id, array_agg(brand ORDER BY place) FILTER (WHERE place <= 3) AS names
    FROM (SELECT user_id, brand, row_number() OVER (PARTITION BY user_id ORDER BY count(*) DESC, brand) AS place
          FROM bought WHERE brand IS NOT NULL GROUP BY user_id, brand) AS ranked
    GROUP BY user_id
)
SELECT %(publication_id)s, user_id, first_purchase, last_purchase, %(day)s::date - last_purchase, orders, items_bought, distinct_items,
       spend, spend / orders, (last_purchase - first_purchase)::double precision / nullif(orders - 1, 0),
       CASE WHEN %(day)s::date - first_purchase < 28 THEN 'new' WHEN %(day)s::date - last_purchase < 28 THEN 'active'
            WHEN %(day)s::date - last_purchase < 56 THEN 'cooling' ELSE 'lapsed' END,
       coalesce(c.names, '{{}}'), coalesce(c.shares, '{{}}'), coalesce(b.names, '{{}}')
FROM buyers LEFT JOIN categories c USING (user_id) LEFT JOIN brands b USING (user_id)
ORDER BY user_id
