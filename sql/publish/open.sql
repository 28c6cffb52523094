INSERT INTO ops.publications (run_key, day, state, model_version) VALUES (%(run_key)s, %(day)s, 'building', %(model_version)s)
ON CONFLICT (run_key) DO UPDATE SET day = EXCLUDED.day, state = 'building', started_at = now(), model_version = EXCLUDED.model_version, audit = '{{}}'
RETURNING publication_id
