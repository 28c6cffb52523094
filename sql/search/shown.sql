-- Products that were shown for a query at least three times on the training days and never clicked, put in the cart or bought after it.
SELECT e.query, e.item_id, count(*) AS shown
FROM core.events e
WHERE e.event_day BETWEEN %(first)s AND %(last)s AND e.event_type = 'impression' AND e.query <> '' AND e.item_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM core.bot_users b WHERE b.event_day = e.event_day AND b.user_id = e.user_id)
  AND NOT EXISTS (SELECT FROM core.search_outcomes o
                  WHERE o.event_day BETWEEN %(first)s AND %(last)s AND o.query = e.query AND o.item_id = e.item_id)
GROUP BY e.query, e.item_id
HAVING count(*) >= 3
ORDER BY e.query COLLATE "C", e.item_id COLLATE "C"
