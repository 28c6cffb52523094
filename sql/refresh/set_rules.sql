UPDATE ops.publications SET rules_digest = %(digest)s WHERE publication_id = %(publication_id)s
