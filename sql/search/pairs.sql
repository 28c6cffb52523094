-- Query-product pairs: how often, and how strongly, a search led to the product. grade: 1 clicked, 2 put in the cart, 3 bought.
SELECT event_day AS day, query, item_id, max(grade) AS grade, sum(grade) AS weight, count(*) AS count
FROM (
    SELECT event_day, query, item_id, CASE WHEN purchased THEN 3 WHEN carted THEN 2 ELSE 1 END AS grade
    FROM core.search_outcomes
    WHERE event_day BETWEEN %(first)s AND %(last)s AND query <> ''
) AS graded
GROUP BY event_day, query, item_id
ORDER BY event_day, query COLLATE "C", item_id COLLATE "C"
