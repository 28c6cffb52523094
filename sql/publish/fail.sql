-- What is live, was live or was rolled back stays that, whatever a task of its run that is cleared finds now.
UPDATE ops.publications SET state = 'failed', audit = %(audit)s WHERE publication_id = %(publication_id)s AND state IN ('building', 'failed')
