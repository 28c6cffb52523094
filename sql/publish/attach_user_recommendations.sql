ALTER TABLE recs.user_recommendations ATTACH PARTITION {partition} FOR VALUES IN (%(publication_id)s)
