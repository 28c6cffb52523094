-- The order matters: only one publication may be live at any moment, also within the transaction.
UPDATE ops.publications SET state = 'withdrawn' WHERE publication_id = %(from)s AND state = 'live';
UPDATE ops.publications SET state = 'live' WHERE publication_id = %(to)s AND state = 'superseded'
