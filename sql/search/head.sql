-- Head queries: what enough different people searched in the window, each with how much that is worth lately.
-- Personal terms are kept out twice: by the number of people, and by form (an address, a long number, what was scrubbed).
CREATE TEMPORARY TABLE head AS
WITH outcomes AS (
    SELECT event_day, search_id, bool_or(purchased) AS bought
    FROM core.search_outcomes WHERE event_day BETWEEN %(first_day)s AND %(day)s GROUP BY event_day, search_id
), asked AS (
    SELECT core.normal_query(e.query) AS query, e.user_id, coalesce(o.bought, false) AS bought,
           power(2, -(%(day)s::date - e.event_day) / %(half_life)s::double precision) AS fresh
    FROM core.events e LEFT JOIN outcomes o ON o.event_day = e.event_day AND o.search_id = e.event_id
    WHERE e.event_day BETWEEN %(first_day)s AND %(day)s AND e.event_type = 'search' AND e.query <> ''
), counted AS (
    SELECT query, count(*)::integer AS searches, count(DISTINCT user_id)::integer AS users, sum(fresh) AS recent,
           coalesce(sum(fresh) FILTER (WHERE bought), 0) AS bought
    FROM asked GROUP BY query
), rate AS (
    SELECT coalesce(sum(bought) / nullif(sum(recent), 0), 0) AS shop FROM counted
)
SELECT query, searches, users, recent * (bought + %(prior)s * shop) / (recent + %(prior)s) AS score
FROM counted CROSS JOIN rate
WHERE searches >= %(min_searches)s AND users >= %(min_users)s AND char_length(query) BETWEEN 2 AND %(longest)s
  AND query !~ '@|[0-9]{{7,}}|<[a-z]+>|\[[a-z]+\]|https?:'
ORDER BY searches DESC, query COLLATE "C"
LIMIT %(most)s;
ANALYZE head
