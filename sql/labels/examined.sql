-- How often people look at each place of a result list, beside the first place: what a click there is divided by, or what stands
-- on top would be taken for what people want. Learned without an experiment, from products that were shown for the same query at one
-- place and at the next one: only the place differs, so the ratio of their click rates is that of the looks (Agarwal et al. 2019, Estimating
-- position bias without intrusive interventions). A step that too little was seen of is 1, a look is never rarer than one in ten; places beyond the last one are
-- looked at as often as the last (labels/query_categories, search/pairs).
CREATE TEMPORARY TABLE examined ON COMMIT DROP AS
WITH people AS (
    SELECT query, item_id, position, event_type FROM core.events e
    WHERE event_day BETWEEN %(first)s AND %(last)s AND event_type IN ('impression', 'click') AND position BETWEEN 1 AND 100 AND query <> '' AND item_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM core.bot_users b WHERE b.event_day = e.event_day AND b.user_id = e.user_id)
), shown AS (
    SELECT query, item_id, position, count(*)::double precision AS times FROM people WHERE event_type = 'impression' GROUP BY query, item_id, position
), clicked AS (
    SELECT query, item_id, position, count(*) AS clicks FROM people WHERE event_type = 'click' GROUP BY query, item_id, position
), rates AS (
    SELECT s.query, s.item_id, s.position, s.times, least(1, coalesce(c.clicks, 0) / s.times) AS rate FROM shown s LEFT JOIN clicked c USING (query, item_id, position)
), steps AS (
    SELECT b.position, sum(least(a.times, b.times)) AS seen, sum(least(a.times, b.times) * a.rate) AS here, sum(least(a.times, b.times) * b.rate) AS below
    FROM rates a JOIN rates b ON b.query = a.query AND b.item_id = a.item_id AND b.position = a.position + 1
    GROUP BY b.position
), chain AS (
    SELECT place AS position, CASE WHEN here >= 20 AND below >= 20 THEN below / here ELSE 1 END AS step
    FROM generate_series(2, (SELECT max(position) FROM rates)) AS place LEFT JOIN steps ON steps.position = place
)
SELECT position, greatest(0.1, least(1, exp(sum(ln(step)) OVER (ORDER BY position)))) AS share FROM chain
