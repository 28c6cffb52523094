UPDATE ops.publications SET state = 'failed', audit = %(audit)s WHERE publication_id = %(publication_id)s
