-- Every beginning of every suggestible head query, with its best completions. A misspelling of a query that is searched ten
-- times as much is not suggested: it is what the correction leads away from.
INSERT INTO {partition} (publication_id, prefix, queries, scores, spellings)
WITH allowed AS (
    SELECT h.query, h.score FROM head h
    WHERE NOT EXISTS (SELECT FROM ops.banned_terms b WHERE strpos(' ' || h.query || ' ', ' ' || core.normal_query(b.term) || ' ') > 0)
), spelled AS (
    SELECT a.query, a.score, s.form FROM allowed a CROSS JOIN LATERAL unnest(core.spellings(a.query)) AS s (form)
), good AS (
    SELECT a.query, a.score FROM allowed a
    WHERE NOT EXISTS (SELECT FROM spelled mine JOIN spelled better ON better.form = mine.form AND better.query <> mine.query
                      WHERE mine.query = a.query AND better.score >= 10 * a.score)
), begun AS (
    SELECT left(g.query, size) AS prefix, g.query, g.score,
           row_number() OVER (PARTITION BY left(g.query, size) ORDER BY g.score DESC, g.query COLLATE "C") AS place
    FROM good g CROSS JOIN LATERAL generate_series(1, least(char_length(g.query), 24)) AS size
)
SELECT %(publication_id)s, prefix, array_agg(query ORDER BY place), array_agg(score::real ORDER BY place), core.spellings(rtrim(prefix))
FROM begun WHERE place <= %(completions)s
GROUP BY prefix
ORDER BY prefix COLLATE "C"
