CREATE TABLE recs.similar_items (
    publication_id bigint NOT NULL,
    item_id        text   NOT NULL,
    item_ids       text[] NOT NULL,
    scores         real[] NOT NULL,
    PRIMARY KEY (publication_id, item_id)
) PARTITION BY LIST (publication_id);
COMMENT ON TABLE recs.similar_items IS 'Per product the available ones whose title, category and brand are most alike, best first; scores are cosines';

CREATE TABLE recs.bought_together (
    publication_id bigint NOT NULL,
    item_id        text   NOT NULL,
    item_ids       text[] NOT NULL,
    strengths      real[] NOT NULL,
    PRIMARY KEY (publication_id, item_id)
) PARTITION BY LIST (publication_id);
COMMENT ON TABLE recs.bought_together IS 'Per product the available ones most often in the same basket (purchases of a user on a day) in the last 91 days';
COMMENT ON COLUMN recs.bought_together.strengths IS 'Baskets with both, divided by the square root of the product of the baskets with each: 1 when they are always bought together';

CREATE TABLE recs.popular_items (
    publication_id bigint  NOT NULL,
    segment        text    NOT NULL,
    days           integer NOT NULL,
    category       text    NOT NULL,
    item_ids       text[]  NOT NULL,
    buyers         integer[] NOT NULL,
    PRIMARY KEY (publication_id, segment, days, category)
) PARTITION BY LIST (publication_id);
COMMENT ON TABLE recs.popular_items IS 'What most users bought lately: the list for somebody of whom nothing is known';
COMMENT ON COLUMN recs.popular_items.segment IS 'Value of the field ECOMREC_SEGMENT_FIELD of the events'' context; empty: the whole shop';
COMMENT ON COLUMN recs.popular_items.days IS 'Bought in the last 1, 7 or 28 days, the publication''s day included';
COMMENT ON COLUMN recs.popular_items.category IS 'Category path; empty: all categories';
COMMENT ON COLUMN recs.popular_items.buyers IS 'Per item: users who bought it';

CREATE VIEW analytics.similar_items AS
    SELECT s.item_id, u.rank::integer AS rank, u.similar_item_id, i.title, i.category, u.score, p.day
    FROM analytics.publication p JOIN recs.similar_items s USING (publication_id)
    CROSS JOIN LATERAL unnest(s.item_ids, s.scores) WITH ORDINALITY AS u (similar_item_id, score, rank)
    LEFT JOIN core.items i ON i.item_id = u.similar_item_id;
COMMENT ON VIEW analytics.similar_items IS 'Products alike in title, category and brand, one row per product and rank (1 = most alike)';
CREATE VIEW analytics.bought_together AS
    SELECT t.item_id, u.rank::integer AS rank, u.other_item_id, i.title, i.category, u.strength, p.day
    FROM analytics.publication p JOIN recs.bought_together t USING (publication_id)
    CROSS JOIN LATERAL unnest(t.item_ids, t.strengths) WITH ORDINALITY AS u (other_item_id, strength, rank)
    LEFT JOIN core.items i ON i.item_id = u.other_item_id;
COMMENT ON VIEW analytics.bought_together IS 'Products often in one basket, one row per product and rank';
CREATE VIEW analytics.popular_items AS
    SELECT t.segment, t.days, t.category AS in_category, u.rank::integer AS rank, u.item_id, i.title, i.category, u.buyers, p.day
    FROM analytics.publication p JOIN recs.popular_items t USING (publication_id)
    CROSS JOIN LATERAL unnest(t.item_ids, t.buyers) WITH ORDINALITY AS u (item_id, buyers, rank)
    LEFT JOIN core.items i ON i.item_id = u.item_id;
COMMENT ON VIEW analytics.popular_items IS 'What most users bought in the last 1, 7 or 28 days, by segment (empty: whole shop) and in_category (empty: all): the list for strangers';
GRANT SELECT ON analytics.similar_items, analytics.bought_together, analytics.popular_items TO ecomrec_analyst;
