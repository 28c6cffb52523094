-- Lists by context, with evidence and propensities; the candidates they were chosen from; the catalogue they were chosen for.
DROP VIEW analytics.user_recommendations;

CREATE TYPE recs.reason AS ENUM ('bought_again', 'goes_with', 'popular', 'new', 'chosen');
COMMENT ON TYPE recs.reason IS 'Why an item is on a list; texts for people are in recs.reason_texts';

ALTER TABLE recs.user_recommendations
    ALTER reasons TYPE recs.reason[] USING reasons::recs.reason[],
    ADD context      text   NOT NULL DEFAULT 'home',
    ADD scope        text   NOT NULL DEFAULT '',
    ADD evidence     real[] NOT NULL DEFAULT '{}',
    ADD propensities real[],
    DROP CONSTRAINT user_recommendations_pkey,
    ADD PRIMARY KEY (publication_id, user_id, context, scope);
COMMENT ON TABLE recs.user_recommendations IS 'One row per user, context and publication; arrays run from the best item down';
COMMENT ON COLUMN recs.user_recommendations.context IS 'The recipe of the list, a [contexts] entry of the rules file; home is there for every user';
COMMENT ON COLUMN recs.user_recommendations.scope IS 'What the list is about within its context: the category path for the context category, else empty';
COMMENT ON COLUMN recs.user_recommendations.scores IS 'Per item: the model''s score for this user, before boosts and diversity; only the order within a user means something';
COMMENT ON COLUMN recs.user_recommendations.reasons IS 'Per item: why it is there. bought_again: the user''s own repeat buying; goes_with: it is most like the item in because, by what their texts say; popular: what others buy; new: drawn from new products; chosen: pinned by the shop';
COMMENT ON COLUMN recs.user_recommendations.because IS 'Per item: the item of the user''s history that the reason rests on, empty for popular, new and chosen';
COMMENT ON COLUMN recs.user_recommendations.evidence IS 'Per item: bought_again: how often the user bought it; goes_with: the share (0-1) of what the user''s history adds to its score that comes from because; new: the probability of the draw; else 0';
COMMENT ON COLUMN recs.user_recommendations.propensities IS 'Per item: probability with which the item came to its place, 1 where nothing was drawn; NULL when the context does not explore. For off-policy evaluation';

CREATE TABLE recs.reason_texts (
    reason   recs.reason NOT NULL,
    language text        NOT NULL,
    template text        NOT NULL,
    PRIMARY KEY (reason, language)
);
COMMENT ON TABLE recs.reason_texts IS 'Texts of the reasons; {because}: title of the item that it rests on, {times}: how often it was bought. A shop may change them and add languages';
INSERT INTO recs.reason_texts VALUES
    ('bought_again', 'en', 'You have bought this before ({times} times)'), ('bought_again', 'zh', '您曾购买过（{times} 次）'),
    ('goes_with',    'en', 'Because you bought {because}'),                ('goes_with',    'zh', '因为您购买过{because}'),
    ('popular',      'en', 'Popular with other customers'),                ('popular',      'zh', '其他顾客也在买'),
    ('new',          'en', 'New in our range'),                            ('new',          'zh', '新品上架'),
    ('chosen',       'en', 'Selected by the shop'),                        ('chosen',       'zh', '店铺精选');

CREATE TABLE recs.served_items (
    publication_id bigint  NOT NULL,
    number         integer NOT NULL,
    item_id        text    NOT NULL,
    title          text    NOT NULL,
    category       text    NOT NULL,
    brand          text    NOT NULL,
    price          double precision,
    available      boolean NOT NULL,
    fresh          boolean NOT NULL,
    tags           text[]  NOT NULL,
    campaign       text    NOT NULL,
    vector         vector,
    PRIMARY KEY (publication_id, number)
) PARTITION BY LIST (publication_id);
COMMENT ON TABLE recs.served_items IS 'The catalogue as a publication saw it: every shard recommends from the same one, whatever is loaded meanwhile';
COMMENT ON COLUMN recs.served_items.number IS 'Place in the model''s tables, from 0; new products follow. user_candidates names items by it';
COMMENT ON COLUMN recs.served_items.fresh IS 'Appeared within the last ECOMREC_NEW_ITEM_DAYS days: may be drawn for exploration';
COMMENT ON COLUMN recs.served_items.vector IS 'Text vector of a product that the model has not learned; NULL for those it has';

CREATE TABLE recs.user_candidates (
    publication_id bigint  NOT NULL,
    shard          integer NOT NULL,
    user_id        text    NOT NULL,
    scored_day     date    NOT NULL,
    segment        text    NOT NULL,
    others         integer NOT NULL,
    bought         integer NOT NULL,
    items          integer[] NOT NULL,
    scores         real[]    NOT NULL,
    PRIMARY KEY (publication_id, user_id)
) PARTITION BY LIST (publication_id);
COMMENT ON TABLE recs.user_candidates IS 'What a user''s lists were chosen from, so that a change of the catalogue or of the rules need not score again';
COMMENT ON COLUMN recs.user_candidates.scored_day IS 'Day that the scores are of; earlier than the publication''s for a user about whom nothing is new';
COMMENT ON COLUMN recs.user_candidates.others IS 'The first so many of items are the best that the user never bought, best first and none left out';
COMMENT ON COLUMN recs.user_candidates.bought IS 'The next so many are the best that the user has bought; the rest stand by for boosts, pins and contexts';

CREATE TABLE ops.rule_counts (
    publication_id bigint  NOT NULL,
    shard          integer NOT NULL,
    rule           text    NOT NULL,
    lists          bigint  NOT NULL,
    PRIMARY KEY (publication_id, shard, rule)
);
COMMENT ON TABLE ops.rule_counts IS 'How many users'' lists each rule touched: kept an item off that would have been on it, or moved one';

CREATE VIEW analytics.user_lists AS
    SELECT r.user_id, r.context, r.scope, u.rank::integer AS rank, u.item_id, i.title, i.category, i.brand, i.price, u.score, u.reason::text AS reason,
           u.because AS because_item_id, b.title AS because_title, u.evidence,
           replace(replace(en.template, '{because}', coalesce(b.title, '')), '{times}', coalesce(u.evidence, 1)::integer::text) AS text_en,
           replace(replace(zh.template, '{because}', coalesce(b.title, '')), '{times}', coalesce(u.evidence, 1)::integer::text) AS text_zh,
           u.propensity, p.day, r.model_version
    FROM analytics.publication p
    JOIN recs.user_recommendations r USING (publication_id)
    CROSS JOIN LATERAL unnest(r.item_ids, r.scores, r.reasons, r.because, r.evidence, r.propensities)
        WITH ORDINALITY AS u (item_id, score, reason, because, evidence, propensity, rank)
    LEFT JOIN core.items i ON i.item_id = u.item_id
    LEFT JOIN core.items b ON b.item_id = u.because
    LEFT JOIN recs.reason_texts en ON en.reason = u.reason AND en.language = 'en'
    LEFT JOIN recs.reason_texts zh ON zh.reason = u.reason AND zh.language = 'zh';
COMMENT ON VIEW analytics.user_lists IS 'The live lists of every context, one row per user, context, scope and rank (1 = best), with titles, the reason of each item and its text';

CREATE VIEW analytics.user_recommendations AS
    SELECT user_id, rank, item_id, title, category, brand, price, score, reason, because_item_id, because_title, day, model_version, evidence, text_en, text_zh
    FROM analytics.user_lists WHERE context = 'home';
COMMENT ON VIEW analytics.user_recommendations IS 'The live lists of the context home, one row per user and rank (1 = best), with titles and the reason of each item';

CREATE VIEW analytics.rule_effects AS
    SELECT c.rule, sum(c.lists)::bigint AS lists, p.day FROM analytics.publication p JOIN ops.rule_counts c USING (publication_id) GROUP BY c.rule, p.day;
COMMENT ON VIEW analytics.rule_effects IS 'How many users'' home lists each rule of the live publication touched; a rule with 0 did nothing';
GRANT SELECT ON analytics.user_lists, analytics.user_recommendations, analytics.rule_effects TO ecomrec_analyst;
