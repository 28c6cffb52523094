-- One row per search as it was typed, category and day: how often, and how strongly, people then chose that category.
-- What belongs to a search is decided in core.search_outcomes. A search that led to several items of one category counts
-- once, with the strongest event, which counts more the less people look at the place where it was found (labels/examined). Categories are those of the last day's catalogue: no label comes from the future.
SELECT event_day AS day, query, category, sum(weight) AS weight, count(*) AS count, count(*) FILTER (WHERE simulated) AS simulated
FROM (
    SELECT o.event_day, o.search_id, o.query, i.category, o.simulated,
           max(CASE WHEN o.purchased THEN %(purchase)s WHEN o.carted THEN %(cart)s ELSE %(click)s END::double precision / coalesce(x.share, 1)) AS weight
    FROM core.search_outcomes o
    LEFT JOIN examined x ON o.position IS NOT NULL AND x.position = least(o.position, (SELECT max(position) FROM examined))
    JOIN core.items_on(%(last)s) i USING (item_id)
    WHERE o.event_day BETWEEN %(first)s AND %(last)s AND o.query <> ''
    GROUP BY o.event_day, o.search_id, o.query, i.category, o.simulated) AS labelled
GROUP BY event_day, query, category
ORDER BY event_day, query, category;
