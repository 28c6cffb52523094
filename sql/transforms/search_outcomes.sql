-- What is clicked, put in the cart or bought belongs to the search under which the item was first touched in the session: a
-- basket that is paid after the last search says nothing about that search. An outcome counts for 30 minutes.
DELETE FROM core.search_outcomes WHERE event_day = ANY(%(days)s::date[]);
INSERT INTO core.search_outcomes (event_day, search_id, item_id, user_id, session_id, started_at, searched_at, query, seconds,
                                  clicked, carted, purchased, position, spend, simulated)
WITH searched AS (
    SELECT *, count(*) FILTER (WHERE event_type = 'search') OVER (
               PARTITION BY event_day, user_id, session_id, started_at ORDER BY event_time, event_type <> 'search', event_id) AS search
    FROM visits
    WHERE event_type IN ('search', 'click', 'cart', 'purchase')
), touched AS (
    SELECT event_day, user_id, session_id, started_at, item_id, event_type, event_time, position, spend,
           min(search) OVER (PARTITION BY event_day, user_id, session_id, started_at, item_id) AS search
    FROM searched
    WHERE event_type <> 'search' AND item_id IS NOT NULL
)
SELECT s.event_day, s.event_id, t.item_id, s.user_id, s.session_id, s.started_at, s.event_time, s.query,
       extract(epoch FROM min(t.event_time) - s.event_time), bool_or(t.event_type = 'click'), bool_or(t.event_type = 'cart'),
       bool_or(t.event_type = 'purchase'), min(t.position) FILTER (WHERE t.event_type = 'click'), sum(t.spend), s.simulated
FROM searched s
JOIN touched t USING (event_day, user_id, session_id, started_at, search)
WHERE s.event_type = 'search' AND t.event_time <= s.event_time + interval '30 minutes'
GROUP BY s.event_day, s.event_id, t.item_id, s.user_id, s.session_id, s.started_at, s.event_time, s.query, s.simulated
ORDER BY s.event_day, s.user_id, s.event_time, s.event_id, t.item_id
