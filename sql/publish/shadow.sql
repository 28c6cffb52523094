UPDATE ops.publications SET state = 'shadow', users = (%(audit)s::jsonb ->> 'users')::bigint, audit = %(audit)s WHERE publication_id = %(publication_id)s
