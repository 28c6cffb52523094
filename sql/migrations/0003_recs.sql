-- One partition per publication: it is filled while detached, attached in the publishing transaction, dropped when old.
CREATE TABLE recs.user_recommendations (
    publication_id bigint NOT NULL,
    shard          integer NOT NULL,
    user_id        text   NOT NULL,
    item_ids       text[] NOT NULL,
    scores         real[] NOT NULL,
    reasons        text[] NOT NULL,
    because        text[] NOT NULL,
    model_version  text   NOT NULL,
    PRIMARY KEY (publication_id, user_id)
) PARTITION BY LIST (publication_id);
COMMENT ON TABLE recs.user_recommendations IS 'One row per user and publication; arrays run from the best item down';
COMMENT ON COLUMN recs.user_recommendations.reasons IS 'Per item: bought_again, goes_with or popular';
COMMENT ON COLUMN recs.user_recommendations.because IS 'Per item: the item of the user''s history that the reason rests on, empty for popular';

CREATE TABLE recs.user_profiles (
    publication_id    bigint NOT NULL,
    user_id           text   NOT NULL,
    first_purchase    date   NOT NULL,
    last_purchase     date   NOT NULL,
    days_since_last   integer NOT NULL,
    orders            integer NOT NULL,
    items_bought      integer NOT NULL,
    distinct_items    integer NOT NULL,
    spend             double precision NOT NULL,
    average_order     double precision NOT NULL,
    days_between      double precision,
    lifecycle         text   NOT NULL,
    top_categories    text[] NOT NULL,
    category_shares   real[] NOT NULL,
    top_brands        text[] NOT NULL,
    PRIMARY KEY (publication_id, user_id)
) PARTITION BY LIST (publication_id);
COMMENT ON TABLE recs.user_profiles IS 'What is known of a user up to the day of the publication';
COMMENT ON COLUMN recs.user_profiles.days_since_last IS 'Days from the last purchase to the day of the publication';
COMMENT ON COLUMN recs.user_profiles.orders IS 'Days on which the user bought something';
COMMENT ON COLUMN recs.user_profiles.spend IS 'Sum of price x quantity over all purchases, in the shop''s currency';
COMMENT ON COLUMN recs.user_profiles.days_between IS 'Mean days between two orders; NULL after a single order';
COMMENT ON COLUMN recs.user_profiles.lifecycle IS 'new: first purchase in the last 28 days; active: bought in the last 28 days; cooling: in the last 56; lapsed: longer ago';
COMMENT ON COLUMN recs.user_profiles.category_shares IS 'Share (0-1) of the user''s purchases in each of top_categories, same order';

CREATE VIEW analytics.publication AS
    SELECT publication_id, day, model_version, users, items, published_at FROM ops.publications WHERE state = 'live';
COMMENT ON VIEW analytics.publication IS 'The publication that is live now: one row, or none before the first';

CREATE VIEW analytics.user_recommendations AS
    SELECT r.user_id, u.rank::integer AS rank, u.item_id, i.title, i.category, i.brand, i.price, u.score, u.reason, u.because AS because_item_id,
           b.title AS because_title, p.day, r.model_version
    FROM analytics.publication p
    JOIN recs.user_recommendations r USING (publication_id)
    CROSS JOIN LATERAL unnest(r.item_ids, r.scores, r.reasons, r.because) WITH ORDINALITY AS u (item_id, score, reason, because, rank)
    LEFT JOIN core.items i ON i.item_id = u.item_id
    LEFT JOIN core.items b ON b.item_id = u.because;
COMMENT ON VIEW analytics.user_recommendations IS 'The live lists, one row per user and rank (1 = best), with titles and the reason of each item';

CREATE VIEW analytics.user_profiles AS
    SELECT f.*, p.day FROM analytics.publication p JOIN recs.user_profiles f USING (publication_id);
COMMENT ON VIEW analytics.user_profiles IS 'The live profiles, one row per user; columns as in recs.user_profiles';

CREATE VIEW analytics.events AS SELECT * FROM core.events;
COMMENT ON VIEW analytics.events IS 'Validated events; filter on event_day, the partition key. context ->> ''simulated'' = ''true'' marks events that did not really happen';

CREATE VIEW analytics.items AS SELECT * FROM core.items;
COMMENT ON VIEW analytics.items IS 'The catalogue as it is now';

CREATE VIEW analytics.loads AS
    SELECT DISTINCT ON (kind, day) kind, day, state, files, rows_read, rows_loaded, rows_rejected, seconds, reason, finished_at
    FROM ops.loads ORDER BY kind, day, load_id DESC;
COMMENT ON VIEW analytics.loads IS 'The newest load of each day: how many rows came in, were set aside, and are live';

CREATE VIEW analytics.model_gates AS SELECT * FROM ops.gate_results;
COMMENT ON VIEW analytics.model_gates IS 'Why each model version was let through or refused';

GRANT USAGE ON SCHEMA analytics TO ecomrec_analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO ecomrec_analyst;
ALTER DEFAULT PRIVILEGES IN SCHEMA analytics GRANT SELECT ON TABLES TO ecomrec_analyst;
