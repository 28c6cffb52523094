-- One transaction: readers see the old publication or the new one, never both, never none. Does nothing when it is live already,
-- or when a newer one has taken its place: a task of an old run that is cleared must not turn the clock back.
UPDATE ops.publications SET state = 'superseded'
WHERE state = 'live' AND EXISTS (SELECT FROM ops.publications WHERE publication_id = %(publication_id)s AND state = 'building');
UPDATE ops.publications SET state = 'live', users = %(users)s, items = %(items)s, audit = %(audit)s, published_at = now()
WHERE publication_id = %(publication_id)s AND state = 'building'
