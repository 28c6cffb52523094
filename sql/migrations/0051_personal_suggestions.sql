-- Suggestions know what they lead to, so that who asks may get those of the categories that they buy first.
ALTER TABLE recs.query_suggestions ADD COLUMN categories text[] NOT NULL DEFAULT '{}', ADD COLUMN category_shares real[] NOT NULL DEFAULT '{}';
COMMENT ON TABLE recs.query_suggestions IS 'Completions of every beginning of every query that may be suggested (recipes/search.toml), best first; read them with analytics.suggest()';
COMMENT ON COLUMN recs.query_suggestions.categories IS 'Per query, the category that was chosen most often after it; empty when nothing was';
COMMENT ON COLUMN recs.query_suggestions.category_shares IS 'Per query, the share (0-1) of all choices after searches that fell on its category';

CREATE OR REPLACE VIEW analytics.query_suggestions AS
    SELECT s.prefix, u.rank::integer AS rank, u.query, u.score, p.day, nullif(u.category, '') AS category
    FROM analytics.publication p
    JOIN recs.query_suggestions s USING (publication_id)
    CROSS JOIN LATERAL unnest(s.queries, s.scores, s.categories) WITH ORDINALITY AS u (query, score, category, rank);

-- Without a user nothing but two probes is planned or run: this is asked at every letter typed.
CREATE OR REPLACE FUNCTION analytics.suggest(typed text, k integer DEFAULT 8, for_user text DEFAULT NULL)
RETURNS TABLE (suggestion text, score real, source text) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    live   bigint;
    upto   date;
    wanted text := left(ltrim(regexp_replace(lower(normalize(left(coalesce(typed, ''), 200), NFKC)), '[[:cntrl:][:space:]]+', ' ', 'g')), 24);
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
        RETURN QUERY SELECT u.q, u.s, found_source FROM unnest(found.queries, found.scores) WITH ORDINALITY AS u (q, s, place) WHERE u.place <= k ORDER BY u.place;
        RETURN;
    END IF;
    SELECT p.top_categories, p.category_shares INTO bought, shares FROM recs.user_profiles p WHERE p.publication_id = live AND p.user_id = for_user;
    -- A completion counts more, the more of its category this user buys beside what everybody chooses; one that the user typed before counts
    -- more each time. The constants were chosen on weeks before the test week of benchmarks/search.py.
    RETURN QUERY
    WITH yours AS (
        SELECT core.normal_query(e.query) AS query, count(*) AS times
        FROM core.events e
        WHERE e.user_id = for_user AND e.event_type = 'search' AND e.event_day BETWEEN upto - 90 AND upto AND starts_with(core.normal_query(e.query), wanted)
        GROUP BY 1
    ), everybodys AS (
        SELECT u.q AS query, u.s * CASE WHEN bought IS NULL OR u.p IS NULL OR u.p <= 0 THEN 1
                                        ELSE power((coalesce(shares[array_position(bought, u.c)], 0) / u.p + 0.3) / 1.3, 0.7) END AS score
        FROM unnest(found.queries, found.scores, found.categories, found.category_shares) AS u (q, s, c, p)
    )
    SELECT query, (coalesce(e.score, 0) + coalesce(y.times, 0) * coalesce(0.25 * (SELECT max(b.score) FROM everybodys b), 1))::real,
           CASE WHEN y.query IS NULL THEN found_source ELSE 'yours' END
    FROM everybodys e FULL JOIN yours y USING (query)
    ORDER BY 2 DESC, query LIMIT greatest(k, 0);
END $$;
COMMENT ON FUNCTION analytics.suggest IS 'Completions of what a shopper has typed so far, best first; source: typed, corrected (a typing error was looked past), or yours (that user''s own earlier query). With for_user, completions of the categories that the user buys and the user''s own earlier queries come first';
