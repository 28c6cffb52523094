SELECT query FROM head h
WHERE NOT EXISTS (SELECT FROM ops.banned_terms b WHERE strpos(' ' || h.query || ' ', ' ' || core.normal_query(b.term) || ' ') > 0)
