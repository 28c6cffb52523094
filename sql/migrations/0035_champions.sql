-- The model in service of each family, in the same database as the publications: what is live is decided here, in one
-- transaction. The aliases in MLflow are a copy for people (docs/decisions/0035).
CREATE TABLE ops.champions (
    term      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    family    text NOT NULL,
    version   text NOT NULL,
    kind      text NOT NULL,
    uri       text NOT NULL,
    actor     text NOT NULL,
    reason    text NOT NULL,
    since     timestamptz NOT NULL DEFAULT clock_timestamp(),
    until     timestamptz,
    withdrawn text
);
CREATE UNIQUE INDEX champions_now ON ops.champions (family) WHERE until IS NULL;
COMMENT ON TABLE ops.champions IS 'Every term of a model in service; the row of a family without an end is its champion. Nothing else decides';
COMMENT ON COLUMN ops.champions.version   IS 'Version in the MLflow registry of that family';
COMMENT ON COLUMN ops.champions.uri       IS 'Folder of the sealed model in the object store';
COMMENT ON COLUMN ops.champions.until     IS 'NULL: in service now';
COMMENT ON COLUMN ops.champions.withdrawn IS 'Why this version was rolled back; it is not promoted again unless somebody says so';

ALTER TABLE ops.publications DROP CONSTRAINT publications_state_check;
ALTER TABLE ops.publications ADD CONSTRAINT publications_state_check
    CHECK (state IN ('building', 'live', 'superseded', 'failed', 'withdrawn', 'shadow'));
COMMENT ON COLUMN ops.publications.state IS 'building, live, superseded, failed (its audit), withdrawn (rolled back), shadow (written to try a model, never to be read)';

CREATE VIEW ops.publications_of_withdrawn_models AS
    SELECT DISTINCT p.publication_id, c.family || '/' || c.version AS model, c.withdrawn
    FROM ops.publications p
    JOIN ops.champions c ON c.withdrawn IS NOT NULL
        AND ' ' || translate(p.model_version, ',;', '  ') || ' ' LIKE '% ' || c.family || '/' || c.version || ' %';
COMMENT ON VIEW ops.publications_of_withdrawn_models IS 'Publications made by a model that was rolled back since: none of them goes live (again)';

ALTER TABLE ops.gate_results ADD COLUMN refuses boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN ops.gate_results.refuses IS 'Whether this verdict alone keeps the candidate out of service';
UPDATE ops.gate_results SET refuses = (verdict <> 'pass');
CREATE OR REPLACE VIEW analytics.model_gates AS SELECT * FROM ops.gate_results;

CREATE VIEW analytics.champions AS SELECT family, version, kind, actor, reason, since, until, withdrawn FROM ops.champions;
COMMENT ON VIEW analytics.champions IS 'Which model served when, who put it there and why; until is NULL for the one in service';
CREATE INDEX audit_log_request ON ops.audit_log ((detail ->> 'request')) WHERE detail ? 'request';
