-- A term's words are found out when it is banned, not for every query that is looked at.
ALTER TABLE ops.banned_terms ADD COLUMN words text GENERATED ALWAYS AS (core.words(term)) STORED;
COMMENT ON COLUMN ops.banned_terms.words IS 'The term as queries are compared with it: core.words';
COMMENT ON TABLE ops.banned_terms IS 'Words and phrases that are never suggested: a query that holds one as whole words is left out of suggestions and related queries. What is banned later than a publication began, analytics.suggest() and the views leave out of it all the same; to change a term, delete it and ban the new one';
-- A reader of the views below need not be able to read the terms.
CREATE OR REPLACE FUNCTION core.banned(query text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN EXISTS (SELECT FROM (SELECT ' ' || core.words(query) || ' ' AS said OFFSET 0) AS q, ops.banned_terms b WHERE strpos(q.said, ' ' || b.words || ' ') > 0);

CREATE OR REPLACE VIEW analytics.query_suggestions AS
    SELECT s.prefix, u.rank::integer AS rank, u.query, u.score, p.day, nullif(u.category, '') AS category
    FROM analytics.publication p
    JOIN recs.query_suggestions s USING (publication_id)
    CROSS JOIN LATERAL unnest(s.queries, s.scores, s.categories) WITH ORDINALITY AS u (query, score, category, rank)
    WHERE NOT core.banned(u.query);
CREATE OR REPLACE VIEW analytics.related_queries AS
    SELECT r.query, u.rank::integer AS rank, u.related, u.score, u.reason, p.day
    FROM analytics.publication p
    JOIN recs.related_queries r USING (publication_id)
    CROSS JOIN LATERAL unnest(r.related, r.scores, r.reasons) WITH ORDINALITY AS u (related, score, reason, rank)
    WHERE NOT core.banned(u.related);
COMMENT ON COLUMN recs.query_suggestions.scores IS 'Purchases to expect: recent searches (older ones count less) times how often they end in a purchase; the searches alone where no purchase could be told to follow one';

-- What is banned after a publication began is not suggested from it either, whether it is new or rolled back to; what was banned before, it does not hold. A space
-- typed behind a word leads to that word before any that is spelled nearly so.
CREATE OR REPLACE FUNCTION analytics.suggest(typed text, k integer DEFAULT 8, for_user text DEFAULT NULL)
RETURNS TABLE (suggestion text, score real, source text) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    live   bigint;
    upto   date;
    since  timestamptz;
    whole  text := ltrim(regexp_replace(lower(normalize(left(coalesce(typed, ''), 200), NFKC)), '[[:cntrl:][:space:]]+', ' ', 'g'));
    wanted text := left(whole, 24);
    found  recs.query_suggestions;
    found_source text := 'typed';
    bought text[];
    shares real[];
    later  boolean;
BEGIN
    SELECT publication_id, day, started_at INTO live, upto, since FROM ops.publications WHERE state = 'live';
    IF live IS NULL OR wanted = '' THEN
        RETURN;
    END IF;
    SELECT * INTO found FROM recs.query_suggestions s WHERE s.publication_id = live AND s.prefix = wanted;
    IF found.queries IS NULL AND char_length(wanted) >= 4 THEN
        found_source := 'corrected';
        SELECT * INTO found FROM recs.query_suggestions s
        WHERE s.publication_id = live AND s.spellings && core.spellings(rtrim(wanted)) AND abs(char_length(s.prefix) - char_length(rtrim(wanted))) <= 1
        ORDER BY (s.prefix = rtrim(wanted)) DESC, (left(s.prefix, 1) = left(wanted, 1)) DESC, s.scores[1] DESC, s.prefix LIMIT 1;
    END IF;
    later := EXISTS (SELECT FROM ops.banned_terms b WHERE b.added_at > since);
    IF for_user IS NULL THEN
        RETURN QUERY
        SELECT u.q, u.s, found_source FROM unnest(found.queries, found.scores) WITH ORDINALITY AS u (q, s, place)
        WHERE (found_source = 'corrected' OR starts_with(u.q, whole)) AND NOT (later AND core.banned(u.q)) ORDER BY u.place LIMIT greatest(k, 0);
        RETURN;
    END IF;
    SELECT p.top_categories, p.category_shares INTO bought, shares FROM recs.user_profiles p WHERE p.publication_id = live AND p.user_id = for_user;
    -- A completion counts more, the more of its category this user buys beside what everybody chooses; one that the user typed before counts
    -- more each time. The constants were chosen on weeks before the test week of benchmarks/search.py.
    RETURN QUERY
    WITH yours AS (
        SELECT t.query, t.times FROM (
            SELECT core.normal_query(e.query) AS query, count(*) AS times
            FROM core.events e
            WHERE e.user_id = for_user AND e.event_type = 'search' AND e.event_day BETWEEN upto - 90 AND upto AND starts_with(core.normal_query(e.query), whole)
            GROUP BY 1) AS t
        WHERE NOT core.banned(t.query)
    ), everybodys AS (
        SELECT u.q AS query, u.s * CASE WHEN bought IS NULL OR u.p IS NULL OR u.p <= 0 THEN 1
                                        ELSE power((coalesce(shares[array_position(bought, u.c)], 0) / u.p + 0.3) / 1.3, 0.7) END AS score
        FROM unnest(found.queries, found.scores, found.categories, found.category_shares) AS u (q, s, c, p)
        WHERE (found_source = 'corrected' OR starts_with(u.q, whole)) AND NOT (later AND core.banned(u.q))
    )
    SELECT query, (coalesce(e.score, 0) + coalesce(y.times, 0) * coalesce(0.25 * (SELECT max(b.score) FROM everybodys b), 1))::real,
           CASE WHEN y.query IS NULL THEN found_source ELSE 'yours' END
    FROM everybodys e FULL JOIN yours y USING (query)
    ORDER BY 2 DESC, query LIMIT greatest(k, 0);
END $$;

-- Where no product says all the words, those that say most of them answer: "oat milk" finds milk where there is no oat milk.
CREATE OR REPLACE FUNCTION analytics.search_products(typed text, k integer DEFAULT 20)
RETURNS TABLE (item_id text, title text, category text, price double precision, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
    wanted text := core.normal_query(typed);
    said   tsvector := to_tsvector('simple', core.words(wanted));
    every  tsquery := plainto_tsquery('simple', core.words(wanted));
    any_of tsquery := replace(every::text, ' & ', ' | ')::tsquery;
BEGIN
    RETURN QUERY
    SELECT i.item_id, i.title, i.category, i.price, u.score::double precision
    FROM recs.query_results r
    JOIN ops.publications p ON p.publication_id = r.publication_id AND p.state = 'live'
    CROSS JOIN LATERAL unnest(r.item_ids, r.scores) AS u (item_id, score)
    JOIN core.items i ON i.item_id = u.item_id
    WHERE r.query = wanted AND NOT i.deleted AND i.in_stock ORDER BY u.score DESC, i.item_id LIMIT k;
    IF FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT i.item_id, i.title, i.category, i.price, ts_rank(i.words, every)::double precision
    FROM core.items i WHERE NOT i.deleted AND i.in_stock AND i.words @@ every ORDER BY 5 DESC, i.item_id LIMIT k;
    IF FOUND OR length(said) < 2 THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT f.item_id, f.title, f.category, f.price, f.shared::double precision / length(said)
    FROM (
        SELECT i.item_id, i.title, i.category, i.price, length(i.words) - length(ts_delete(i.words, tsvector_to_array(said))) AS shared, ts_rank(i.words, any_of) AS near
        FROM core.items i WHERE NOT i.deleted AND i.in_stock AND i.words @@ any_of LIMIT 50000) AS f  -- a word that half of the shop says must not take seconds
    WHERE 2 * f.shared >= length(said) ORDER BY f.shared DESC, f.near DESC, f.item_id LIMIT k;
END $$;
COMMENT ON FUNCTION analytics.search_products(text, integer) IS 'Products for a query: the published results where it is a head query, else those that say all its words, else those that say half of them or more, most first (score: the share)';
