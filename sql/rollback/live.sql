SELECT p.publication_id, p.day, p.model_version, w.model AS withdrawn_model
FROM ops.publications p LEFT JOIN ops.publications_of_withdrawn_models w USING (publication_id)
WHERE p.state = 'live'
LIMIT 1
