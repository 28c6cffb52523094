-- One statement after the other in one transaction: readers see the old publication or the new one, never both, never none.
UPDATE ops.publications SET state = 'superseded' WHERE state = 'live';
UPDATE ops.publications SET state = 'live', users = %(users)s, items = %(items)s, audit = %(audit)s, published_at = now()
WHERE publication_id = %(publication_id)s
