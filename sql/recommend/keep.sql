-- Users of a shard whose lists of the live publication a new run would make alike: see ecomrec/recommend/kept.py.
CREATE TEMPORARY TABLE kept ON COMMIT DROP AS
WITH changed AS MATERIALIZED (
    SELECT l.number, l.item_id FROM {live_items} l LEFT JOIN {items} i USING (item_id)
    WHERE (l.number, l.category, l.brand, l.available, l.fresh, l.tags, l.campaign) IS DISTINCT FROM (i.number, i.category, i.brand, i.available, i.fresh, i.tags, i.campaign)
       OR (%(priced)s AND l.price IS DISTINCT FROM i.price)
),
numbers AS MATERIALIZED (SELECT coalesce(array_agg(number), '{{}}') AS all_of_them FROM changed),
names AS MATERIALIZED (SELECT coalesce(array_agg(item_id), '{{}}') AS all_of_them FROM changed),
busy AS MATERIALIZED (  -- did something since, or a purchase of theirs has left the window
    SELECT e.user_id FROM core.events e JOIN {candidates} c USING (user_id)
    WHERE e.user_id >= %(first_user)s AND (%(next_user)s::text IS NULL OR e.user_id < %(next_user)s)
      AND (e.event_day > %(since)s AND e.event_day <= %(day)s AND e.event_day > c.scored_day
           OR e.event_day < %(first_day)s AND e.event_day > %(since)s::date - %(history)s AND e.event_day > c.scored_day - %(history)s)
),
buyers AS MATERIALIZED (
    SELECT DISTINCT user_id FROM core.events
    WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = 'purchase' AND user_id >= %(first_user)s AND (%(next_user)s::text IS NULL OR user_id < %(next_user)s)
),
moved AS MATERIALIZED (
    SELECT DISTINCT user_id FROM {lists}
    WHERE user_id >= %(first_user)s AND (%(next_user)s::text IS NULL OR user_id < %(next_user)s) AND item_ids && (SELECT all_of_them FROM names)
)
SELECT c.user_id FROM {candidates} c JOIN buyers USING (user_id)
WHERE c.scored_day > %(since)s AND NOT c.items && (SELECT all_of_them FROM numbers)
  AND c.user_id NOT IN (SELECT user_id FROM busy) AND c.user_id NOT IN (SELECT user_id FROM moved)
