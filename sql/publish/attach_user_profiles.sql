ALTER TABLE recs.user_profiles ATTACH PARTITION {partition} FOR VALUES IN (%(publication_id)s)
