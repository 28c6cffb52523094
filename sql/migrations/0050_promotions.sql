-- Which promotion to show to whom (docs/promotions.md). One row per user: arrays run from the most valuable promotion down.
CREATE TABLE recs.user_promotions (
    publication_id  bigint NOT NULL,
    user_id         text   NOT NULL,
    promotion_ids   text[] NOT NULL,
    titles          text[] NOT NULL,
    expected_values real[] NOT NULL,
    uplifts         real[] NOT NULL,
    redemptions     real[] NOT NULL,
    reasons         text[] NOT NULL,
    times           integer[] NOT NULL,
    basis           text   NOT NULL,
    PRIMARY KEY (publication_id, user_id)
) PARTITION BY LIST (publication_id);
COMMENT ON TABLE recs.user_promotions IS 'One row per user who should be shown a promotion, and publication; arrays run from the most valuable promotion down';
COMMENT ON COLUMN recs.user_promotions.promotion_ids IS 'Ids of the promotions in the file that ECOMREC_PROMOTIONS names';
COMMENT ON COLUMN recs.user_promotions.titles IS 'Their titles in that file';
COMMENT ON COLUMN recs.user_promotions.expected_values IS 'What showing it is expected to bring: margin * uplift - discount * redemption - cost; by affinity the share of the user''s spending that it covers';
COMMENT ON COLUMN recs.user_promotions.uplifts IS 'How much more the user is expected to spend on what it covers in 28 days because of it, in money; by affinity as expected_values';
COMMENT ON COLUMN recs.user_promotions.redemptions IS 'Probability (0-1) that the user redeems it when it is shown';
COMMENT ON COLUMN recs.user_promotions.reasons IS 'buys_these: bought what it covers lately; used_before: redeemed a promotion before; expected_gain: expected to buy more because of it';
COMMENT ON COLUMN recs.user_promotions.times IS 'Purchases of what it covers in the last 91 days';
COMMENT ON COLUMN recs.user_promotions.basis IS 'uplift: learned from past promotions; affinity: too few of them to learn from, ranked by how much of what the user buys is covered';

CREATE TABLE recs.promotion_reasons (
    reason   text NOT NULL,
    language text NOT NULL,
    template text NOT NULL,
    PRIMARY KEY (reason, language)
);
COMMENT ON TABLE recs.promotion_reasons IS 'Texts of the reasons of promotions; {times}: how often the user bought what it covers. A shop may change them and add languages';
INSERT INTO recs.promotion_reasons VALUES
    ('buys_these',    'en', 'On products that you have bought {times} times lately'), ('buys_these',    'zh', '您近期购买过 {times} 次的商品正在优惠'),
    ('used_before',   'en', 'You have used an offer of ours before'),                 ('used_before',   'zh', '您曾使用过我们的优惠'),
    ('expected_gain', 'en', 'Selected for you'),                                      ('expected_gain', 'zh', '为您精选');

CREATE VIEW analytics.user_promotions AS
    SELECT r.user_id, u.rank::integer AS rank, u.promotion_id, u.title, u.expected_value, u.uplift, u.redemption, u.reason,
           replace(en.template, '{times}', u.times::text) AS text_en, replace(zh.template, '{times}', u.times::text) AS text_zh, r.basis, p.day
    FROM analytics.publication p
    JOIN recs.user_promotions r USING (publication_id)
    CROSS JOIN LATERAL unnest(r.promotion_ids, r.titles, r.expected_values, r.uplifts, r.redemptions, r.reasons, r.times)
        WITH ORDINALITY AS u (promotion_id, title, expected_value, uplift, redemption, reason, times, rank)
    LEFT JOIN recs.promotion_reasons en ON en.reason = u.reason AND en.language = 'en'
    LEFT JOIN recs.promotion_reasons zh ON zh.reason = u.reason AND zh.language = 'zh';
COMMENT ON VIEW analytics.user_promotions IS 'Which promotions to show to whom on the day after `day`, one row per user and rank (1 = most valuable), with the reason and its text; empty without ECOMREC_PROMOTIONS';
GRANT SELECT ON analytics.user_promotions TO ecomrec_analyst;
