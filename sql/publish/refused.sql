-- Why a publication that was built may not go live.
SELECT 'it was rolled back itself' AS why, 'run the DAG again, it builds a new publication with the champion of now' AS remedy
FROM ops.publications WHERE publication_id = %(publication_id)s AND state = 'withdrawn'
UNION ALL
SELECT model || ' was rolled back: ' || withdrawn, 'run the DAG again, it builds a new publication with the champion of now'
FROM ops.publications_of_withdrawn_models WHERE publication_id = %(publication_id)s
UNION ALL
SELECT format('publication %%s of the later day %%s is live', l.publication_id, l.day), 'to go back, roll back, or publish that day by hand with `day` filled in'
FROM ops.publications p JOIN ops.publications l ON l.state = 'live' AND l.day > p.day
WHERE p.publication_id = %(publication_id)s AND p.state = 'building' AND NOT %(older)s
UNION ALL
SELECT format('publication %%s went live while it was built from %%s', l.publication_id, %(instead_of)s::bigint), 'run the refresh again, it starts from what is live now'
FROM ops.publications l WHERE l.state = 'live' AND l.publication_id NOT IN (%(instead_of)s::bigint, %(publication_id)s)
UNION ALL
SELECT 'its audit refused it', 'mend the cause and run the task audit again' FROM ops.publications WHERE publication_id = %(publication_id)s AND state = 'failed'
