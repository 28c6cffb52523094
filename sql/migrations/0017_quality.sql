-- Checks by load, so that their history stays, and the few numbers a day that later days are compared with.
CREATE TABLE ops.day_statistics (
    kind      text NOT NULL,
    day       date NOT NULL,
    dimension text NOT NULL,
    value     text NOT NULL,
    amount    double precision NOT NULL,
    usual     double precision,
    PRIMARY KEY (kind, day, dimension, value)
);
COMMENT ON TABLE ops.day_statistics IS 'Some fifty numbers about each loaded day; checks compare a new day with those of the days before it, so that nothing scans core.events';
COMMENT ON COLUMN ops.day_statistics.dimension IS 'event_type, hour (UTC), empty (share of rows without a field), share, day or price';
COMMENT ON COLUMN ops.day_statistics.usual     IS 'Median of the same weekday in the 8 weeks before (three at least), else of the 4 weeks before (seven days at least), when the day was loaded';

ALTER TABLE ops.loads ADD COLUMN accepted text;
COMMENT ON COLUMN ops.loads.accepted IS 'Why somebody let the day in although checks of severity fail did not hold';

ALTER TABLE ops.validations DROP CONSTRAINT validations_pkey, ADD COLUMN load_id bigint REFERENCES ops.loads ON DELETE CASCADE;
UPDATE ops.validations v SET load_id = (SELECT max(l.load_id) FROM ops.loads l WHERE l.kind = v.kind AND l.day = v.day);
DELETE FROM ops.validations WHERE load_id IS NULL;
ALTER TABLE ops.validations ADD PRIMARY KEY (load_id, expectation);
CREATE INDEX validations_day ON ops.validations (kind, day);
COMMENT ON TABLE ops.validations IS 'Result of each Great Expectations check of each load; who loaded and when is in ops.loads';

CREATE VIEW analytics.validations AS
    SELECT v.kind, v.day, v.expectation, v.severity, v.passed, v.observed, v.checked_at, l.load_id, l.state, l.actor, l.accepted,
           l.load_id = max(l.load_id) OVER (PARTITION BY v.kind, v.day) AS newest
    FROM ops.validations v JOIN ops.loads l USING (load_id);
COMMENT ON VIEW analytics.validations IS 'Every check of every load; newest = true: those of the day''s last load';
CREATE VIEW analytics.day_statistics AS SELECT * FROM ops.day_statistics;
COMMENT ON VIEW analytics.day_statistics IS 'Numbers about each loaded day beside what was usual; columns as in ops.day_statistics';
