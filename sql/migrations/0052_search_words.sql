-- Words are found in any punctuation, and in Chinese and Japanese, which write none between them: there each character is a word.
CREATE FUNCTION core.words(said text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN btrim(regexp_replace(regexp_replace(lower(normalize(said, NFKC)), '([\u2e80-\u9fff\uf900-\ufaff])', ' \1 ', 'g'), '[[:punct:][:cntrl:][:space:]\u00a0]+', ' ', 'g'));
COMMENT ON FUNCTION core.words IS 'The words of a text with single spaces between them and no punctuation; a Chinese or Japanese character is a word by itself';

CREATE FUNCTION core.item_words(title text, brand text, category text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsvector('simple'::regconfig, core.words(title) || ' ' || coalesce(core.words(brand), '') || ' ' || core.words(category));
COMMENT ON FUNCTION core.item_words IS 'What a product is found by in a search for words: title, brand and category';

DROP INDEX core.items_words;
ALTER TABLE core.items ADD COLUMN words tsvector GENERATED ALWAYS AS (core.item_words(title, brand, category)) STORED;
COMMENT ON COLUMN core.items.words IS 'What the product is found by in a search for words: core.item_words';
CREATE INDEX items_words ON core.items USING gin (words);

-- A catalogue holds few queries' words in many products, which a planner takes for a reason to look through all of them.
CREATE FUNCTION core.in_catalogue(query text) RETURNS boolean LANGUAGE plpgsql STABLE STRICT SET enable_seqscan = off AS $$
BEGIN
    RETURN EXISTS (SELECT FROM core.items i WHERE NOT i.deleted AND i.words @@ plainto_tsquery('simple', core.words(query)));
END $$;
COMMENT ON FUNCTION core.in_catalogue IS 'Whether one product that is not deleted says all words of a query';

CREATE FUNCTION core.banned(query text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN EXISTS (SELECT FROM ops.banned_terms b WHERE strpos(' ' || core.words(query) || ' ', ' ' || core.words(b.term) || ' ') > 0);
COMMENT ON FUNCTION core.banned IS 'Whether a query holds a term of ops.banned_terms as whole words';

-- What is typed beyond the 24 letters that beginnings are kept for still has to fit, and what is banned is not offered to whoever typed it before.
CREATE OR REPLACE FUNCTION analytics.suggest(typed text, k integer DEFAULT 8, for_user text DEFAULT NULL)
RETURNS TABLE (suggestion text, score real, source text) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    live   bigint;
    upto   date;
    whole  text := ltrim(regexp_replace(lower(normalize(left(coalesce(typed, ''), 200), NFKC)), '[[:cntrl:][:space:]]+', ' ', 'g'));
    wanted text := left(whole, 24);
    found  recs.query_suggestions;
    found_source text := 'typed';
    bought text[];
    shares real[];
BEGIN
    SELECT publication_id, day INTO live, upto FROM ops.publications WHERE state = 'live';
    IF live IS NULL OR wanted = '' THEN
        RETURN;
    END IF;
    SELECT * INTO found FROM recs.query_suggestions s WHERE s.publication_id = live AND s.prefix = wanted;
    IF found.queries IS NULL AND char_length(wanted) >= 4 THEN
        found_source := 'corrected';
        SELECT * INTO found FROM recs.query_suggestions s
        WHERE s.publication_id = live AND s.spellings && core.spellings(rtrim(wanted)) AND abs(char_length(s.prefix) - char_length(rtrim(wanted))) <= 1
        ORDER BY (left(s.prefix, 1) = left(wanted, 1)) DESC, s.scores[1] DESC, s.prefix LIMIT 1;
    END IF;
    IF for_user IS NULL THEN
        RETURN QUERY
        SELECT u.q, u.s, found_source FROM unnest(found.queries, found.scores) WITH ORDINALITY AS u (q, s, place)
        WHERE found_source = 'corrected' OR starts_with(u.q, whole) ORDER BY u.place LIMIT greatest(k, 0);
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
        WHERE found_source = 'corrected' OR starts_with(u.q, whole)
    )
    SELECT query, (coalesce(e.score, 0) + coalesce(y.times, 0) * coalesce(0.25 * (SELECT max(b.score) FROM everybodys b), 1))::real,
           CASE WHEN y.query IS NULL THEN found_source ELSE 'yours' END
    FROM everybodys e FULL JOIN yours y USING (query)
    ORDER BY 2 DESC, query LIMIT greatest(k, 0);
END $$;

-- The index gives at most 40 neighbours at once, and those sold out are among them: it is asked for more until there are enough.
ALTER FUNCTION analytics.search_products(vector, integer) SET hnsw.iterative_scan = 'strict_order';
ALTER FUNCTION analytics.search_products(vector, integer) SET hnsw.ef_search = '100';

CREATE OR REPLACE FUNCTION analytics.search_products(typed text, k integer DEFAULT 20)
RETURNS TABLE (item_id text, title text, category text, price double precision, score double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_catalog, pg_temp AS $$
    WITH known AS (
        SELECT r.item_ids, r.scores FROM recs.query_results r
        JOIN ops.publications p ON p.publication_id = r.publication_id AND p.state = 'live'
        WHERE r.query = core.normal_query(typed)
    ), found AS (
        SELECT u.item_id, u.score::double precision AS score FROM known CROSS JOIN LATERAL unnest(known.item_ids, known.scores) AS u (item_id, score)
        UNION ALL
        SELECT w.item_id, w.score FROM (
            SELECT i.item_id, ts_rank(i.words, q)::double precision AS score
            FROM core.items i, plainto_tsquery('simple', core.words(core.normal_query(typed))) AS q
            WHERE NOT EXISTS (SELECT FROM known) AND NOT i.deleted AND i.in_stock AND i.words @@ q
            ORDER BY 2 DESC, 1 LIMIT k) AS w
    )
    SELECT f.item_id, i.title, i.category, i.price, f.score FROM found f JOIN core.items i USING (item_id) ORDER BY f.score DESC, f.item_id LIMIT k
$$;

CREATE FUNCTION core.embedding_key(model text, item core.items) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN md5(model || chr(31) || concat_ws(chr(31), item.title, item.brand, item.category, item.description, item.attributes::text));
COMMENT ON FUNCTION core.embedding_key IS 'What core.items.embedding_key is where the embedding was made by this model of this text';
