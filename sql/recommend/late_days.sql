-- Loads of days up to the live publication's that ended after it had begun: it does not know what they brought.
SELECT day FROM ops.loads WHERE kind = 'events' AND state = 'loaded' AND day <= %(day)s
  AND finished_at >= (SELECT started_at FROM ops.publications WHERE publication_id = %(publication_id)s)
LIMIT 1
