DELETE FROM ops.publication_models WHERE publication_id = %(publication_id)s;
INSERT INTO ops.publication_models (publication_id, family, version)
SELECT %(publication_id)s, * FROM unnest(%(families)s::text[], %(versions)s::text[])
