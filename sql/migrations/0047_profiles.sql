-- What marketing asks of a profile beyond recency, frequency and value. The view keeps its columns and their order, and gains these.
ALTER TABLE recs.user_profiles
    ADD COLUMN brand_shares      real[],
    ADD COLUMN recency_score     smallint,
    ADD COLUMN frequency_score   smallint,
    ADD COLUMN value_score       smallint,
    ADD COLUMN price_level       real,
    ADD COLUMN price_band        text,
    ADD COLUMN discount_share    real,
    ADD COLUMN discount_affinity real,
    ADD COLUMN usual_weekday     smallint,
    ADD COLUMN weekday_share     real,
    ADD COLUMN usual_hour        smallint,
    ADD COLUMN next_from         date,
    ADD COLUMN next_to           date,
    ADD COLUMN churn_risk        real,
    ADD COLUMN leans_to          text,
    ADD COLUMN leaning           real;
COMMENT ON COLUMN recs.user_profiles.top_brands IS 'The up to three brands bought most often, most first';
COMMENT ON COLUMN recs.user_profiles.brand_shares IS 'Share (0-1) of the user''s purchases of branded products in each of top_brands, same order';
COMMENT ON COLUMN recs.user_profiles.recency_score IS '1-5, fifth of all users by days_since_last: 5 bought most recently';
COMMENT ON COLUMN recs.user_profiles.frequency_score IS '1-5, fifth of all users by orders: 5 bought most often';
COMMENT ON COLUMN recs.user_profiles.value_score IS '1-5, fifth of all users by spend: 5 spent most';
COMMENT ON COLUMN recs.user_profiles.price_level IS 'Mean place (0 cheapest, 1 dearest) of what the user buys among the catalogue''s prices of the same category; NULL without prices';
COMMENT ON COLUMN recs.user_profiles.price_band IS 'low, middle or high: third of all users by price_level';
COMMENT ON COLUMN recs.user_profiles.discount_share IS 'Share of purchases paid at least 5 % below what the product costs on average';
COMMENT ON COLUMN recs.user_profiles.discount_affinity IS 'Purchases on discount over what all buyers of the same products would have made, both plus one: above 1 seeks discounts, below 1 does not';
COMMENT ON COLUMN recs.user_profiles.usual_weekday IS 'Day of the week with most orders, 1 Monday to 7 Sunday';
COMMENT ON COLUMN recs.user_profiles.weekday_share IS 'Share of the orders on usual_weekday: 1/7 says nothing, 1 always';
COMMENT ON COLUMN recs.user_profiles.usual_hour IS 'Hour (UTC, 0-23) with most purchases';
COMMENT ON COLUMN recs.user_profiles.next_from IS 'Of users with the same rhythm and idle time a month and more ago, a tenth had ordered before as many days; NULL: nine tenths had not within 28 days, or the shop''s history is too short';
COMMENT ON COLUMN recs.user_profiles.next_to IS 'As next_from, nine tenths had ordered by then: the next order falls from next_from to next_to for four users of five. NULL: more than a tenth take longer than 28 days';
COMMENT ON COLUMN recs.user_profiles.churn_risk IS 'Share (0-1) of those users who did not order within 28 days';
COMMENT ON COLUMN recs.user_profiles.leans_to IS 'First level of the category where the user''s purchases exceed the shop''s mix most: a hint at lifestyle (pets, baby, wine); NULL when none stands out';
COMMENT ON COLUMN recs.user_profiles.leaning IS 'Share of the user''s purchases in leans_to over the shop''s share';
ALTER TABLE recs.user_candidates ADD COLUMN embedding halfvec;
COMMENT ON COLUMN recs.user_candidates.embedding IS 'The user as the recommender sees them: near vectors (cosine) want alike things; comparable within one model_version. NULL when the model has none';

CREATE OR REPLACE VIEW analytics.user_profiles AS
    SELECT f.publication_id, f.user_id, f.first_purchase, f.last_purchase, f.days_since_last, f.orders, f.items_bought, f.distinct_items, f.spend,
           f.average_order, f.days_between, f.lifecycle, f.top_categories, f.category_shares, f.top_brands, p.day,
           f.brand_shares, f.recency_score, f.frequency_score, f.value_score, f.price_level, f.price_band, f.discount_share, f.discount_affinity,
           f.usual_weekday, f.weekday_share, f.usual_hour, f.next_from, f.next_to, f.churn_risk, f.leans_to, f.leaning, c.embedding
    FROM analytics.publication p JOIN recs.user_profiles f USING (publication_id)
    LEFT JOIN recs.user_candidates c ON c.publication_id = f.publication_id AND c.user_id = f.user_id;
