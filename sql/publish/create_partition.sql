-- The partition is filled while detached. Its CHECK spares ATTACH the scan that would hold a lock.
DROP TABLE IF EXISTS {partition};
CREATE TABLE {partition} (
    LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES INCLUDING STORAGE,
    CHECK (publication_id = %(publication_id)s)
)
