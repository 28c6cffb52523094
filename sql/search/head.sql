-- What was searched in the window, each query with how much it is worth lately. Personal terms are kept out of every table twice: by
-- the number of people, and by form (an address, a long number, what was scrubbed).
CREATE TEMPORARY TABLE asked AS
WITH outcomes AS (
    SELECT event_day, search_id, bool_or(purchased) AS bought
    FROM core.search_outcomes WHERE event_day BETWEEN %(first_day)s AND %(day)s GROUP BY event_day, search_id
), searched AS (
    SELECT e.query AS typed, e.user_id, coalesce(o.bought, false) AS bought,
           power(2, -(%(day)s::date - e.event_day) / %(half_life)s::double precision) AS fresh
    FROM core.events e LEFT JOIN outcomes o ON o.event_day = e.event_day AND o.search_id = e.event_id
    WHERE e.event_day BETWEEN %(first_day)s AND %(day)s AND e.event_type = 'search' AND e.query <> ''
      AND NOT EXISTS (SELECT FROM core.bot_users b WHERE b.event_day = e.event_day AND b.user_id = e.user_id)
), spelled AS (  -- once for each spelling, not for each search
    SELECT typed, core.normal_query(typed) AS query FROM (SELECT DISTINCT typed FROM searched) AS distinctly
), counted AS (
    SELECT query, count(*)::integer AS searches, count(DISTINCT user_id)::integer AS users, sum(fresh) AS recent,
           coalesce(sum(fresh) FILTER (WHERE bought), 0) AS bought
    FROM searched JOIN spelled USING (typed) GROUP BY query
), rate AS (
    SELECT coalesce(sum(bought) / nullif(sum(recent), 0), 0) AS shop FROM counted
)
-- Where no purchase could be told to follow a search (no sessions in the log, say), a query is worth its searches.
SELECT query, searches, users, CASE WHEN shop > 0 THEN recent * (bought + %(prior)s * shop) / (recent + %(prior)s) ELSE recent END AS score
FROM counted CROSS JOIN rate
WHERE char_length(query) BETWEEN 2 AND %(longest)s AND query !~ '@|[0-9]{{7,}}|<[a-z]+>|\[[a-z]+\]|https?:';
ANALYZE asked;

-- Head queries: what enough different people searched often enough.
CREATE TEMPORARY TABLE head AS
SELECT query, searches, users, score FROM asked
WHERE searches >= %(min_searches)s AND users >= %(min_users)s
ORDER BY searches DESC, query COLLATE "C"
LIMIT %(most)s;
ANALYZE head
