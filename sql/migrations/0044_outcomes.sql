-- What became of what was published: the lists of the eve held against what people then bought.
CREATE TABLE ops.outcomes (
    day            date PRIMARY KEY,
    publication_id bigint  NOT NULL REFERENCES ops.publications ON DELETE CASCADE,
    users          bigint  NOT NULL,
    hit_users      bigint  NOT NULL,
    items          bigint  NOT NULL,
    hits           bigint  NOT NULL,
    usual          double precision
);
COMMENT ON TABLE  ops.outcomes IS 'Of each day: the newest lists that were made before it, held against what their users bought on it';
COMMENT ON COLUMN ops.outcomes.users     IS 'Users with a list who bought something on the day';
COMMENT ON COLUMN ops.outcomes.hit_users IS 'Of these, who bought one of the first ten of their list';
COMMENT ON COLUMN ops.outcomes.items     IS 'Different products that they bought';
COMMENT ON COLUMN ops.outcomes.hits      IS 'Of these, products among the first ten of the list';
COMMENT ON COLUMN ops.outcomes.usual     IS 'Share of hit users over the 28 days before, NULL when there were fewer than seven such days';

CREATE VIEW analytics.outcomes AS
    SELECT o.day, o.publication_id, p.model_version, p.day AS made_for, o.day - p.day AS days_old, o.users, o.hit_users, o.hit_users::double precision / nullif(o.users, 0) AS hit_rate,
           o.usual, o.items, o.hits, o.hits::double precision / nullif(o.items, 0) AS recall
    FROM ops.outcomes o JOIN ops.publications p USING (publication_id);
COMMENT ON VIEW analytics.outcomes IS 'How good the published lists proved to be: one row per day with purchases, the share of buyers who found one in their first ten. Bought is not because of: some would have bought it anyway';
GRANT SELECT ON analytics.outcomes TO ecomrec_analyst;
