-- Search tables. Like all of recs, one partition per publication.
CREATE TABLE recs.query_categories (
    publication_id bigint NOT NULL,
    query          text   NOT NULL,
    category       text   NOT NULL,
    probability    real   NOT NULL,
    categories     text[] NOT NULL,
    probabilities  real[] NOT NULL,
    searches       integer NOT NULL,
    model_version  text   NOT NULL,
    PRIMARY KEY (publication_id, query)
) PARTITION BY LIST (publication_id);
COMMENT ON TABLE recs.query_categories IS 'What each head query means; head queries are those that enough people searched (recipes/search.toml)';
COMMENT ON COLUMN recs.query_categories.query       IS 'Normalised: core.normal_query(as typed)';
COMMENT ON COLUMN recs.query_categories.category    IS 'A leaf; a parent of it where the leaf is unsure; "unknown" for what is not of this shop';
COMMENT ON COLUMN recs.query_categories.probability IS 'Calibrated, 0-1; 0 for unknown';
COMMENT ON COLUMN recs.query_categories.categories  IS 'The most likely leaves, best first: a query may mean several';
COMMENT ON COLUMN recs.query_categories.searches    IS 'Searches in the window of the publication';

CREATE TABLE recs.query_results (
    publication_id bigint NOT NULL,
    query          text   NOT NULL,
    item_ids       text[] NOT NULL,
    scores         real[] NOT NULL,
    embedding      vector,
    searches       integer NOT NULL,
    model_version  text   NOT NULL,
    PRIMARY KEY (publication_id, query)
) PARTITION BY LIST (publication_id);
COMMENT ON TABLE recs.query_results IS 'The products that answer each head query, best first, in stock when published';
COMMENT ON COLUMN recs.query_results.scores    IS 'Meaning and words, 0-1, plus up to 2 for what people chose after this query (recipes/search.toml)';
COMMENT ON COLUMN recs.query_results.embedding IS 'The query as the retriever reads it; NULL when BM25 alone serves';

CREATE TABLE recs.query_suggestions (
    publication_id bigint NOT NULL,
    prefix         text   NOT NULL,
    queries        text[] NOT NULL,
    scores         real[] NOT NULL,
    spellings      text[] NOT NULL,
    PRIMARY KEY (publication_id, prefix)
) PARTITION BY LIST (publication_id);
CREATE INDEX query_suggestions_spellings ON recs.query_suggestions USING gin (spellings);
COMMENT ON TABLE recs.query_suggestions IS 'Completions of every beginning of every head query, best first; read them with analytics.suggest()';
COMMENT ON COLUMN recs.query_suggestions.scores    IS 'Purchases to expect: recent searches (older ones count less) times how often they end in a purchase';
COMMENT ON COLUMN recs.query_suggestions.spellings IS 'The prefix and each form of it with one letter left out: what a typing error is looked up by';

CREATE TABLE recs.related_queries (
    publication_id bigint NOT NULL,
    query          text   NOT NULL,
    related        text[] NOT NULL,
    scores         real[] NOT NULL,
    reasons        text[] NOT NULL,
    PRIMARY KEY (publication_id, query)
) PARTITION BY LIST (publication_id);
COMMENT ON TABLE recs.related_queries IS 'Other head queries that mean nearly the same or lead to the same products, best first';
COMMENT ON COLUMN recs.related_queries.reasons IS 'Per related query: same_products or similar_meaning, whichever is stronger';

CREATE TABLE ops.banned_terms (
    term     text PRIMARY KEY CHECK (term <> ''),
    reason   text NOT NULL DEFAULT '',
    added_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.banned_terms IS 'Words and phrases that are never suggested; a query that holds one as whole words is left out of suggestions and related queries';

-- What a query means in numbers. Filled by the retriever, only where text or model changed.
ALTER TABLE core.items ADD COLUMN embedding vector, ADD COLUMN embedding_key text;
COMMENT ON COLUMN core.items.embedding     IS 'The product as the retriever reads it, length 1; NULL until it is embedded. Search it with analytics.search_products()';
COMMENT ON COLUMN core.items.embedding_key IS 'MD5 of the model and the text that the embedding was made of: says which rows are stale';
CREATE INDEX items_words ON core.items USING gin (to_tsvector('simple', title || ' ' || coalesce(brand, '') || ' ' || category));

-- One form for every spelling of the same query: what ecomrec.queries.normalise does, in SQL (a test holds them together).
CREATE FUNCTION core.normal_query(typed text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN rtrim(left(btrim(regexp_replace(lower(normalize(left(typed, 800), NFKC)), '[[:cntrl:][:space:]\u00a0]+', ' ', 'g')), 200));
COMMENT ON FUNCTION core.normal_query IS 'A query as the search tables write it: NFKC, lower case, single spaces, at most 200 characters';

-- A typing error and what was meant share a form with one letter left out (SymSpell): a lost, doubled, swapped or wrong letter.
CREATE FUNCTION core.spellings(prefix text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN char_length(prefix) < 4 THEN '{}'::text[]
            ELSE ARRAY(SELECT prefix UNION SELECT overlay(prefix PLACING '' FROM place FOR 1) FROM generate_series(1, char_length(prefix)) AS place) END;
COMMENT ON FUNCTION core.spellings IS 'A text of four letters or more, and every form of it with one letter left out';

CREATE VIEW analytics.query_categories AS
    SELECT c.query, c.category, c.probability, c.categories, c.probabilities, c.searches, p.day, c.model_version
    FROM analytics.publication p JOIN recs.query_categories c USING (publication_id);
COMMENT ON VIEW analytics.query_categories IS 'What each head query means, one row a query; columns as in recs.query_categories';

CREATE VIEW analytics.query_results AS
    SELECT r.query, u.rank::integer AS rank, u.item_id, i.title, i.category, i.brand, i.price, u.score, r.searches, p.day, r.model_version
    FROM analytics.publication p
    JOIN recs.query_results r USING (publication_id)
    CROSS JOIN LATERAL unnest(r.item_ids, r.scores) WITH ORDINALITY AS u (item_id, score, rank)
    LEFT JOIN core.items i ON i.item_id = u.item_id;
COMMENT ON VIEW analytics.query_results IS 'The products that answer each head query, one row per query and rank (1 = best)';

CREATE VIEW analytics.query_suggestions AS
    SELECT s.prefix, u.rank::integer AS rank, u.query, u.score, p.day
    FROM analytics.publication p
    JOIN recs.query_suggestions s USING (publication_id)
    CROSS JOIN LATERAL unnest(s.queries, s.scores) WITH ORDINALITY AS u (query, score, rank);
COMMENT ON VIEW analytics.query_suggestions IS 'Completions of each prefix, one row per prefix and rank; for what a shopper types, call analytics.suggest()';

CREATE VIEW analytics.related_queries AS
    SELECT r.query, u.rank::integer AS rank, u.related, u.score, u.reason, p.day
    FROM analytics.publication p
    JOIN recs.related_queries r USING (publication_id)
    CROSS JOIN LATERAL unnest(r.related, r.scores, r.reasons) WITH ORDINALITY AS u (related, score, reason, rank);
COMMENT ON VIEW analytics.related_queries IS 'Other head queries near to each one, one row per pair and rank';

-- SECURITY DEFINER: an analyst may call these without reading the tables behind them. plpgsql keeps plans from call to call.
CREATE FUNCTION analytics.suggest(typed text, k integer DEFAULT 8, for_user text DEFAULT NULL)
RETURNS TABLE (suggestion text, score real, source text) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    live   bigint;
    upto   date;
    wanted text := left(ltrim(regexp_replace(lower(normalize(left(coalesce(typed, ''), 200), NFKC)), '[[:cntrl:][:space:]]+', ' ', 'g')), 24);
    found_queries text[];
    found_scores  real[];
    found_source  text := 'typed';
BEGIN
    SELECT publication_id, day INTO live, upto FROM ops.publications WHERE state = 'live';
    IF live IS NULL OR wanted = '' THEN
        RETURN;
    END IF;
    SELECT s.queries, s.scores INTO found_queries, found_scores FROM recs.query_suggestions s WHERE s.publication_id = live AND s.prefix = wanted;
    IF found_queries IS NULL AND char_length(wanted) >= 4 THEN
        found_source := 'corrected';
        SELECT s.queries, s.scores INTO found_queries, found_scores FROM recs.query_suggestions s
        WHERE s.publication_id = live AND s.spellings && core.spellings(rtrim(wanted)) AND abs(char_length(s.prefix) - char_length(rtrim(wanted))) <= 1
        ORDER BY (left(s.prefix, 1) = left(wanted, 1)) DESC, s.scores[1] DESC, s.prefix LIMIT 1;
    END IF;
    RETURN QUERY
    SELECT DISTINCT ON (n.place) n.suggestion, n.score, n.source FROM (
        SELECT m.suggestion, m.score, m.source, row_number() OVER (ORDER BY (m.source = 'yours') DESC, m.score DESC, m.suggestion) AS place
        FROM (
            SELECT DISTINCT ON (a.suggestion) a.suggestion, a.score, a.source FROM (
                SELECT core.normal_query(e.query) AS suggestion, count(*)::real AS score, 'yours' AS source
                FROM core.events e
                WHERE for_user IS NOT NULL AND e.user_id = for_user AND e.event_type = 'search' AND e.event_day BETWEEN upto - 90 AND upto
                  AND starts_with(core.normal_query(e.query), wanted)
                GROUP BY 1
                UNION ALL
                SELECT u.q, u.s, found_source FROM unnest(found_queries, found_scores) AS u (q, s)) AS a
            ORDER BY a.suggestion, (a.source = 'yours') DESC) AS m) AS n
    WHERE n.place <= greatest(k, 0)
    ORDER BY n.place;
END $$;
COMMENT ON FUNCTION analytics.suggest IS 'Completions of what a shopper has typed so far, best first; source: typed, corrected (a typing error was looked past), or yours (that user''s own earlier query, only when for_user is given)';

CREATE FUNCTION analytics.search_products(wanted vector, k integer DEFAULT 20)
RETURNS TABLE (item_id text, title text, category text, price double precision, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_catalog, pg_temp AS $$
BEGIN
    -- The index is on the expression with the vector's size in it, so the size must be in the text of the statement.
    RETURN QUERY EXECUTE format(
        'SELECT i.item_id, i.title, i.category, i.price, 1 - (i.embedding::halfvec(%1$s) <=> $1::halfvec(%1$s)) FROM core.items i
         WHERE vector_dims(i.embedding) = %1$s AND NOT i.deleted AND i.in_stock ORDER BY i.embedding::halfvec(%1$s) <=> $1::halfvec(%1$s) LIMIT $2', vector_dims(wanted))
    USING wanted, k;
END $$;
COMMENT ON FUNCTION analytics.search_products(vector, integer) IS 'Products nearest in meaning to a vector (an item''s embedding, or one that `ecomrec search` made); score: cosine';

CREATE FUNCTION analytics.search_products(typed text, k integer DEFAULT 20)
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
            SELECT i.item_id, ts_rank(to_tsvector('simple', i.title || ' ' || coalesce(i.brand, '') || ' ' || i.category), q)::double precision AS score
            FROM core.items i, plainto_tsquery('simple', core.normal_query(typed)) AS q
            WHERE NOT EXISTS (SELECT FROM known) AND NOT i.deleted AND i.in_stock
              AND to_tsvector('simple', i.title || ' ' || coalesce(i.brand, '') || ' ' || i.category) @@ q
            ORDER BY 2 DESC, 1 LIMIT k) AS w
    )
    SELECT f.item_id, i.title, i.category, i.price, f.score FROM found f JOIN core.items i USING (item_id) ORDER BY f.score DESC, f.item_id LIMIT k
$$;
COMMENT ON FUNCTION analytics.search_products(text, integer) IS 'Products for a query: the published results where it is a head query, else those with all its words';
