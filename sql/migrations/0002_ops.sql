CREATE TABLE ops.loads (
    load_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('events', 'catalog')),
    day         date NOT NULL,
    state       text NOT NULL CHECK (state IN ('loaded', 'refused')),
    files       integer NOT NULL,
    rows_read   bigint NOT NULL,
    rows_loaded bigint NOT NULL,
    rows_rejected bigint NOT NULL,
    seconds     double precision NOT NULL,
    reason      text,
    finished_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX loads_day ON ops.loads (kind, day);
COMMENT ON TABLE ops.loads IS 'Every load that ended: what came in, how long it took, and why it was refused if it was';

CREATE TABLE ops.rejected_rows (
    kind    text NOT NULL,
    day     date NOT NULL,
    file    text NOT NULL,
    line    bigint NOT NULL,
    reason  text NOT NULL,
    payload text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX rejected_rows_day ON ops.rejected_rows (kind, day);
COMMENT ON TABLE ops.rejected_rows IS 'Rows that broke the contract, set aside with the file, line, reason and the row as it came; replaced when the day is loaded again';

CREATE TABLE ops.validations (
    kind        text NOT NULL,
    day         date NOT NULL,
    expectation text NOT NULL,
    severity    text NOT NULL CHECK (severity IN ('fail', 'warn')),
    passed      boolean NOT NULL,
    observed    text,
    checked_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, day, expectation)
);
COMMENT ON TABLE ops.validations IS 'Result of each Great Expectations check of a day, the newest load of that day only';

CREATE TABLE ops.gate_results (
    family        text NOT NULL,
    model_version text NOT NULL,
    gate          text NOT NULL,
    verdict       text NOT NULL CHECK (verdict IN ('pass', 'fail', 'inconclusive')),
    value         double precision,
    low           double precision,
    high          double precision,
    threshold     double precision,
    sentence      text NOT NULL,
    decided_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (family, model_version, gate)
);
COMMENT ON TABLE ops.gate_results IS 'Each gate''s verdict on a candidate, with its value, 95 % interval, threshold and a sentence for people';

CREATE TABLE ops.publications (
    publication_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_key        text NOT NULL UNIQUE,
    day            date NOT NULL,
    state          text NOT NULL CHECK (state IN ('building', 'live', 'superseded', 'failed')),
    model_version  text NOT NULL,
    users          bigint,
    items          bigint,
    audit          jsonb NOT NULL DEFAULT '{}',
    started_at     timestamptz NOT NULL DEFAULT now(),
    published_at   timestamptz
);
CREATE UNIQUE INDEX publications_live ON ops.publications (state) WHERE state = 'live';
COMMENT ON TABLE ops.publications IS 'Every publication; the one whose state is live is what readers see. Nothing else decides';
COMMENT ON COLUMN ops.publications.run_key IS 'The Airflow run that builds it: a re-run goes on with the same publication';

CREATE TABLE ops.audit_log (
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    action  text NOT NULL,
    subject text NOT NULL,
    detail  jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE ops.audit_log IS 'Who changed what is live, when and why';
