-- Publications whose rows may go: beyond the ones kept for rollback, failed and withdrawn ones, and building ones that nobody finished.
-- What cannot be gone back to takes no place from what can: those of a model that was rolled back are numbered apart, it may be promoted again.
SELECT publication_id FROM (
    SELECT publication_id, state, started_at,
           row_number() OVER (PARTITION BY state IN ('live', 'superseded'), state = 'superseded' AND EXISTS (SELECT FROM ops.publications_of_withdrawn_models w WHERE w.publication_id = p.publication_id)
                              ORDER BY published_at DESC NULLS LAST) AS age
    FROM ops.publications p
) AS numbered
WHERE ((state = 'superseded' AND age > %(kept)s) OR state IN ('failed', 'shadow', 'withdrawn') OR (state = 'building' AND started_at < now() - interval '1 day'))
    AND to_regclass('recs.user_recommendations_p' || publication_id) IS NOT NULL
ORDER BY publication_id
