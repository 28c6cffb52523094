SELECT state FROM ops.publications WHERE publication_id = %(publication_id)s
