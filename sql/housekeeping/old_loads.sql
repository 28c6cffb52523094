-- The newest load of a day stays: it says what is in the tables.
DELETE FROM ops.loads l
WHERE finished_at < now() - make_interval(days => %(days)s)
  AND EXISTS (SELECT FROM ops.loads n WHERE n.kind = l.kind AND n.day = l.day AND n.load_id > l.load_id)
