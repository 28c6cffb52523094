-- A publication is made by more models than the one that scores users: what its search tables were made with is rolled back with it too.
CREATE TABLE ops.publication_models (
    publication_id bigint NOT NULL REFERENCES ops.publications,
    family         text   NOT NULL,
    version        text   NOT NULL,
    PRIMARY KEY (publication_id, family)
);
COMMENT ON TABLE ops.publication_models IS 'The champions that made the search tables of a publication; the recommender''s stands in ops.publications.model_version';

CREATE OR REPLACE VIEW ops.publications_of_withdrawn_models AS
    SELECT p.publication_id, c.family || '/' || c.version AS model, c.withdrawn
    FROM ops.publications p
    JOIN ops.champions c ON c.withdrawn IS NOT NULL
        AND ' ' || translate(p.model_version, ',;', '  ') || ' ' LIKE '% ' || c.family || '/' || c.version || ' %'
    UNION
    SELECT m.publication_id, c.family || '/' || c.version, c.withdrawn
    FROM ops.publication_models m JOIN ops.champions c USING (family, version) WHERE c.withdrawn IS NOT NULL;
