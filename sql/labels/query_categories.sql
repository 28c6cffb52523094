-- One row per search as it was typed, category and day: how often, and how strongly, people then chose that category.
--
-- A session is the shop's session_id, or the user without one, cut where nothing happened for 30 minutes. What is clicked,
-- put in the cart or bought belongs to the search under which the item was first touched in the session: a basket that is
-- paid after the last search says nothing about that search. An outcome counts for 30 minutes.
-- A search that led to several events of one category counts once, with the strongest of them.
WITH numbered AS (
    SELECT event_day, event_id, event_time, user_id, event_type, item_id, query, context,
           concat(session_id, ' ', count(*) FILTER (WHERE starts) OVER (
               PARTITION BY user_id, session_id ORDER BY event_time, event_type <> 'search', event_id)) AS session
    FROM (
        SELECT *, event_time - lag(event_time) OVER (
                   PARTITION BY user_id, session_id ORDER BY event_time, event_type <> 'search', event_id) > interval '30 minutes' AS starts
        FROM core.events
        WHERE event_day BETWEEN %(first)s AND %(last)s AND event_type IN ('search', 'click', 'cart', 'purchase')
    ) e
), searched AS (
    SELECT *, count(*) FILTER (WHERE event_type = 'search') OVER (
               PARTITION BY user_id, session ORDER BY event_time, event_type <> 'search', event_id) AS search
    FROM numbered
), outcomes AS (
    SELECT user_id, session, item_id, event_time,
           CASE event_type WHEN 'purchase' THEN %(purchase)s WHEN 'cart' THEN %(cart)s ELSE %(click)s END::double precision AS weight,
           min(search) OVER (PARTITION BY user_id, session, item_id) AS search
    FROM searched
    WHERE event_type <> 'search' AND item_id IS NOT NULL
), labelled AS (
    SELECT s.event_day, s.event_id, s.query, i.category, max(o.weight) AS weight,
           coalesce(s.context ->> 'simulated' = 'true', false) AS simulated
    FROM searched s
    JOIN outcomes o ON o.user_id = s.user_id AND o.session = s.session AND o.search = s.search
                   AND o.event_time <= s.event_time + interval '30 minutes'
    JOIN core.items i ON i.item_id = o.item_id
    WHERE s.event_type = 'search' AND s.query <> ''
    GROUP BY s.event_day, s.event_id, s.query, i.category, simulated
)
SELECT event_day AS day, query, category, sum(weight) AS weight, count(*) AS count, count(*) FILTER (WHERE simulated) AS simulated
FROM labelled
GROUP BY event_day, query, category
ORDER BY event_day, query, category;
