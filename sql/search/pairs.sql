-- Query-product pairs: how often, and how strongly, a search led to the product. grade: 1 clicked, 2 put in the cart, 3 bought; its
-- weight counts more the less people look at the place where the product was found (labels/examined).
SELECT event_day AS day, query, item_id, max(grade) AS grade, sum(grade / coalesce(share, 1)) AS weight, count(*) AS count
FROM (
    SELECT event_day, query, item_id, CASE WHEN purchased THEN 3 WHEN carted THEN 2 ELSE 1 END AS grade, share
    FROM core.search_outcomes o LEFT JOIN examined x ON o.position IS NOT NULL AND x.position = least(o.position, (SELECT max(position) FROM examined))
    WHERE event_day BETWEEN %(first)s AND %(last)s AND query <> ''
) AS graded
GROUP BY event_day, query, item_id
ORDER BY event_day, query COLLATE "C", item_id COLLATE "C"
