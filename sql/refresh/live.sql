SELECT publication_id, day::text AS day, model_version, rules_digest FROM ops.publications WHERE state = 'live'
