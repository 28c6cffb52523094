-- Every beginning of every suggestible query, with its best completions. A misspelling of a query that is worth ten times as much is
-- not suggested: it is what the correction leads away from. Words of the catalogue are no misspelling, however near to another word.
INSERT INTO {partition} (publication_id, prefix, queries, scores, categories, category_shares, spellings)
WITH spelled AS (
    SELECT a.query, a.score, a.known, s.form FROM suggestible a CROSS JOIN LATERAL unnest(core.spellings(a.query)) AS s (form)
), misspelled AS (
    SELECT DISTINCT mine.query FROM spelled mine JOIN spelled better USING (form)
    WHERE NOT mine.known AND better.query <> mine.query AND better.score >= 10 * mine.score
), begun AS (
    SELECT left(g.query, size) AS prefix, g.query, g.score, g.category, g.share,
           row_number() OVER (PARTITION BY left(g.query, size) ORDER BY g.score DESC, g.query COLLATE "C") AS place
    FROM suggestible g CROSS JOIN LATERAL generate_series(1, least(char_length(g.query), 24)) AS size
    WHERE g.query NOT IN (SELECT query FROM misspelled)
)
SELECT %(publication_id)s, prefix, array_agg(query ORDER BY place), array_agg(score::real ORDER BY place), array_agg(category ORDER BY place), array_agg(coalesce(share, 0) ORDER BY place), core.spellings(rtrim(prefix))
FROM begun WHERE place <= %(completions)s
GROUP BY prefix
ORDER BY prefix COLLATE "C"
