-- A publication that an audit refused and whose tasks were run again since: it passes now, and may go live.
UPDATE ops.publications SET state = 'building' WHERE publication_id = %(publication_id)s AND state = 'failed'
