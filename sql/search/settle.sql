-- Sorts what was just written into a table's GIN indexes: left on their pending lists, it would be read from end to end by each look-up.
SELECT gin_clean_pending_list(x.indexrelid)
FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_am a ON a.oid = c.relam AND a.amname = 'gin'
WHERE x.indrelid = %(table)s::regclass
