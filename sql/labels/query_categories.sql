-- One row per query, category and part of the split (`day` is the first day of its part): how often, and how strongly, people then chose that category.
-- What belongs to a search is decided in core.search_outcomes. A search that led to several items of one category counts
-- once, with the strongest event, which counts more the less people look at the place where it was found (labels/examined). Categories are those of the last day's catalogue: no label comes from the future. A product that was only ever deleted may have none, and labels nothing.
-- Queries get one spelling only after they have been counted as typed: what many typed alike is spelled once.
SELECT day, core.normal_query(query) AS query, category, sum(weight) AS weight, sum(count)::bigint AS count, sum(simulated)::bigint AS simulated
FROM (
    SELECT day, query, category, sum(weight) AS weight, count(*) AS count, count(*) FILTER (WHERE simulated) AS simulated
    FROM (
        SELECT CASE WHEN o.event_day >= %(test)s THEN %(test)s WHEN o.event_day >= %(valid)s THEN %(valid)s ELSE %(first)s END AS day,
               o.search_id, o.query, i.category, o.simulated,
               max(CASE WHEN o.purchased THEN %(purchase)s WHEN o.carted THEN %(cart)s ELSE %(click)s END::double precision / coalesce(x.share, 1)) AS weight
        FROM core.search_outcomes o
        LEFT JOIN examined x ON o.position IS NOT NULL AND x.position = least(o.position, (SELECT max(position) FROM examined))
        JOIN core.items_on(%(last)s) i USING (item_id)
        WHERE o.event_day BETWEEN %(first)s AND %(last)s AND o.query <> '' AND i.category <> ''
        GROUP BY o.event_day, o.search_id, o.query, i.category, o.simulated) AS labelled
    GROUP BY day, query, category) AS typed
GROUP BY 1, 2, 3
ORDER BY day, core.normal_query(query) COLLATE "C", category COLLATE "C";
