SELECT publication_id, day, model_version, users, items FROM analytics.publication
