-- One transaction: readers see the old publication or the new one, never both, never none. Does nothing when it is live already.
UPDATE ops.publications SET state = 'superseded'
WHERE state = 'live' AND publication_id <> %(publication_id)s;
UPDATE ops.publications SET state = 'live', users = %(users)s, items = %(items)s, audit = %(audit)s, published_at = now()
WHERE publication_id = %(publication_id)s AND state <> 'live'
