-- Who loaded what from which files, and what became of every row.
ALTER TABLE ops.loads
    ADD COLUMN actor          text   NOT NULL DEFAULT '',
    ADD COLUMN started_at     timestamptz,
    ADD COLUMN rows_dropped   bigint NOT NULL DEFAULT 0,
    ADD COLUMN rows_duplicate bigint NOT NULL DEFAULT 0,
    ADD COLUMN reasons        jsonb  NOT NULL DEFAULT '{}',
    ADD COLUMN stages         jsonb  NOT NULL DEFAULT '{}',
    ADD COLUMN fields         jsonb,
    ADD COLUMN changes        text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN ops.loads.actor          IS 'Who or what ran it: an Airflow run, or a login of the machine';
COMMENT ON COLUMN ops.loads.rows_read      IS 'rows_loaded + rows_rejected + rows_dropped + rows_duplicate, when the load was not refused';
COMMENT ON COLUMN ops.loads.rows_dropped   IS 'Rows that the shop''s mapping leaves out on purpose';
COMMENT ON COLUMN ops.loads.rows_duplicate IS 'Rows whose id the day, or the event''s own day, has already';
COMMENT ON COLUMN ops.loads.reasons        IS 'Rows by why they were rejected or dropped, the 50 most frequent reasons';
COMMENT ON COLUMN ops.loads.stages         IS 'Seconds of each stage; shared by the days of one run of load_history';
COMMENT ON COLUMN ops.loads.fields         IS 'The shop''s fields as they came: JSON types and share of the sampled rows that have it';
COMMENT ON COLUMN ops.loads.changes        IS 'How these fields differ from the load before: new, missing or retyped';

CREATE TABLE ops.load_files (
    load_id   bigint NOT NULL REFERENCES ops.loads ON DELETE CASCADE,
    key       text   NOT NULL,
    etag      text   NOT NULL,
    bytes     bigint NOT NULL,
    sha256    text   NOT NULL,
    rows_read bigint NOT NULL,
    PRIMARY KEY (load_id, key)
);
COMMENT ON TABLE ops.load_files IS 'The manifest of a load: every file that was read. A day whose files are others now is stale';
COMMENT ON COLUMN ops.load_files.etag IS 'Changes whenever the object''s bytes do: S3''s ETag, or time and size of a file in a folder';

CREATE OR REPLACE VIEW analytics.loads AS
    SELECT DISTINCT ON (kind, day) kind, day, state, files, rows_read, rows_loaded, rows_rejected, seconds, reason, finished_at,
           actor, started_at, rows_dropped, rows_duplicate, reasons, changes
    FROM ops.loads ORDER BY kind, day, load_id DESC;

-- With the day first, building the key for a new partition compares the same day five million times.
ALTER TABLE core.events DROP CONSTRAINT events_pkey, ADD PRIMARY KEY (event_id, event_day);
-- Logs come in the order of time, so a block range is as good as an index a thousand times its size.
CREATE INDEX events_time ON core.events USING brin (event_time);

CREATE FUNCTION ops.index_like(target regclass, model regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    definition record;
BEGIN
    FOR definition IN
        SELECT pg_get_constraintdef(c.oid) AS of_constraint, i.indisunique,
               substring(pg_get_indexdef(i.indexrelid) FROM ' USING .*$') AS of_index
        FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u')
        WHERE i.indrelid = model
        ORDER BY i.indexrelid
    LOOP
        IF definition.of_constraint IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %s ADD %s', target, definition.of_constraint);
        ELSE
            EXECUTE format('CREATE %s INDEX ON %s%s', CASE WHEN definition.indisunique THEN 'UNIQUE' END, target, definition.of_index);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION ops.index_like IS 'Gives target the indexes of model, so that attaching it as a partition builds none under a lock';
