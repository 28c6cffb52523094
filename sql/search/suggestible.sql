-- What may be suggested: what enough different people searched; and what fewer did where one product's text holds all its words, so
-- that it tells nothing of whoever typed it. Each with the category that was chosen most often after it ('' when none was), and that
-- category's share of all choices.
CREATE TEMPORARY TABLE suggestible AS
WITH likely AS (
    SELECT query, users, score FROM asked ORDER BY score DESC, query COLLATE "C" LIMIT %(most)s
), spoken AS (
    SELECT query, users, score, core.in_catalogue(query) AS known FROM likely
), chosen AS (
    SELECT core.normal_query(query) AS query, category, sum(times) AS times
    FROM (
        SELECT o.query, i.category, count(*) AS times
        FROM core.search_outcomes o JOIN core.items i USING (item_id)
        WHERE o.event_day BETWEEN %(first_day)s AND %(day)s GROUP BY o.query, i.category) AS typed
    GROUP BY 1, 2
), led AS (
    SELECT DISTINCT ON (query) query, category FROM chosen ORDER BY query, times DESC, category COLLATE "C"
), shares AS (
    SELECT category, (sum(times) / sum(sum(times)) OVER ())::real AS share FROM chosen GROUP BY category
)
SELECT s.query, s.score, s.known, coalesce(category, '') AS category, share
FROM spoken s LEFT JOIN led USING (query) LEFT JOIN shares USING (category)
WHERE (s.known OR s.users >= %(min_users)s)
  AND NOT core.banned(s.query);
ANALYZE suggestible
