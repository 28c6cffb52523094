SELECT 'it was rolled back itself' AS why FROM ops.publications WHERE publication_id = %(publication_id)s AND state = 'withdrawn'
UNION ALL
SELECT model || ' was rolled back: ' || withdrawn FROM ops.publications_of_withdrawn_models WHERE publication_id = %(publication_id)s
