SELECT day, publication_id, model_version, days_old, users, hit_users, hit_rate, usual FROM analytics.outcomes WHERE day = %(day)s
