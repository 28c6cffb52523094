-- Query-product pairs by part of the split (`day` is the first day of its part): how often, and how strongly, a search led to the product. grade: 1 clicked, 2 put
-- in the cart, 3 bought; its weight counts more the less people look at the place where the product was found (labels/examined). Queries get one
-- spelling only after they have been counted as typed.
SELECT day, core.normal_query(query) AS query, item_id, max(grade) AS grade, sum(weight) AS weight, sum(count)::bigint AS count
FROM (
    SELECT day, query, item_id, max(grade) AS grade, sum(grade / coalesce(share, 1)) AS weight, count(*) AS count
    FROM (
        SELECT CASE WHEN event_day >= %(test)s THEN %(test)s WHEN event_day >= %(valid)s THEN %(valid)s ELSE %(first)s END AS day,
               query, item_id, CASE WHEN purchased THEN 3 WHEN carted THEN 2 ELSE 1 END AS grade, share
        FROM core.search_outcomes o LEFT JOIN examined x ON o.position IS NOT NULL AND x.position = least(o.position, (SELECT max(position) FROM examined))
        WHERE event_day BETWEEN %(first)s AND %(last)s AND query <> ''
    ) AS graded
    GROUP BY day, query, item_id) AS typed
GROUP BY 1, 2, 3
ORDER BY day, core.normal_query(query) COLLATE "C", item_id COLLATE "C"
