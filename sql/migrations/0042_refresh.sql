ALTER TABLE ops.publications ADD rules_digest text NOT NULL DEFAULT '';
COMMENT ON COLUMN ops.publications.rules_digest IS 'Fingerprint of the rules file that its lists follow; refresh_catalog goes on only from lists of the same rules';

-- The tables keep more than a page shows, whatever is in stock; the views leave out what cannot be had at this moment.
CREATE OR REPLACE VIEW analytics.similar_items AS
    SELECT s.item_id, row_number() OVER (PARTITION BY s.item_id ORDER BY u.rank)::integer AS rank, u.similar_item_id, i.title, i.category, u.score, p.day
    FROM analytics.publication p JOIN recs.similar_items s USING (publication_id)
    CROSS JOIN LATERAL unnest(s.item_ids, s.scores) WITH ORDINALITY AS u (similar_item_id, score, rank)
    JOIN core.items i ON i.item_id = u.similar_item_id AND i.in_stock AND NOT i.deleted;
CREATE OR REPLACE VIEW analytics.bought_together AS
    SELECT t.item_id, row_number() OVER (PARTITION BY t.item_id ORDER BY u.rank)::integer AS rank, u.other_item_id, i.title, i.category, u.strength, p.day
    FROM analytics.publication p JOIN recs.bought_together t USING (publication_id)
    CROSS JOIN LATERAL unnest(t.item_ids, t.strengths) WITH ORDINALITY AS u (other_item_id, strength, rank)
    JOIN core.items i ON i.item_id = u.other_item_id AND i.in_stock AND NOT i.deleted;
COMMENT ON TABLE recs.bought_together IS 'Per product those most often in the same basket (purchases of a user on a day) in the last 91 days, in stock or not; the view shows what can be had';
