-- The newest publication before the live one whose rows are still there and whose models were not rolled back.
SELECT p.publication_id, p.day, p.model_version, p.users
FROM ops.publications p
WHERE p.state = 'superseded'
  AND to_regclass('recs.user_recommendations_p' || p.publication_id) IS NOT NULL
  AND NOT EXISTS (SELECT FROM ops.publications_of_withdrawn_models w WHERE w.publication_id = p.publication_id)
ORDER BY p.published_at DESC
LIMIT 1
