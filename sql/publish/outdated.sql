-- Publications whose rows may go: beyond the ones kept for rollback, failed ones, and building ones that nobody finished.
SELECT publication_id FROM (
    SELECT publication_id, state, started_at,
           row_number() OVER (PARTITION BY state IN ('live', 'superseded', 'withdrawn') ORDER BY published_at DESC NULLS LAST) AS age
    FROM ops.publications
) AS numbered
WHERE ((state IN ('superseded', 'withdrawn') AND age > %(kept)s) OR state IN ('failed', 'shadow') OR (state = 'building' AND started_at < now() - interval '1 day'))
    AND to_regclass('recs.user_recommendations_p' || publication_id) IS NOT NULL
ORDER BY publication_id
