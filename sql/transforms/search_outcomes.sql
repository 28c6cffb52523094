-- DuckDB. What is clicked, put in the cart or bought belongs to the search under which the item was first touched in the session: a
-- basket that is paid after the last search says nothing about that search. What was bought without a click or cart of its
-- own came from a list or a shelf, and counts only under a search without any (a shop may not log them). All for 30 minutes.
WITH searched AS (
    SELECT *, count(*) FILTER (WHERE event_type = 'search') OVER (
               PARTITION BY event_day, user_id, session_id, started_at ORDER BY event_time, event_type <> 'search', event_id) AS search
    FROM visits
    WHERE event_type IN ('search', 'click', 'cart', 'purchase')
), searches AS (
    SELECT event_day, user_id, session_id, started_at, search, min(event_time) AS searched_at,
           min(event_id) FILTER (WHERE event_type = 'search') AS search_id, min(query) FILTER (WHERE event_type = 'search') AS query,
           bool_or(event_type IN ('click', 'cart')) AS chosen, bool_and(simulated) FILTER (WHERE event_type = 'search') AS simulated
    FROM searched
    WHERE search > 0
    GROUP BY event_day, user_id, session_id, started_at, search
), items AS (
    SELECT event_day, user_id, session_id, started_at, item_id, min(search) AS search, bool_or(event_type <> 'purchase') AS chosen
    FROM searched
    WHERE event_type <> 'search' AND item_id IS NOT NULL
    GROUP BY event_day, user_id, session_id, started_at, item_id
)
SELECT s.event_day, s.search_id, i.item_id, s.user_id, s.session_id, s.started_at, s.searched_at, s.query,
       epoch(min(e.event_time) - s.searched_at) AS seconds, bool_or(e.event_type = 'click') AS clicked, bool_or(e.event_type = 'cart') AS carted,
       bool_or(e.event_type = 'purchase') AS purchased, min(e.position) FILTER (WHERE e.event_type = 'click') AS position,
       sum(e.spend) / 1e6 AS spend, s.simulated
FROM searches s
JOIN items i USING (event_day, user_id, session_id, started_at, search)
JOIN searched e USING (event_day, user_id, session_id, started_at, item_id)
WHERE (i.chosen OR NOT s.chosen) AND e.event_type <> 'search' AND e.event_time <= s.searched_at + INTERVAL '30 minutes'
GROUP BY s.event_day, s.search_id, i.item_id, s.user_id, s.session_id, s.started_at, s.searched_at, s.query, s.simulated
ORDER BY s.event_day, s.user_id, s.searched_at, s.search_id, i.item_id
