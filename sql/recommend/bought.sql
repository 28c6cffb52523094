-- What was bought of the served products, and how many days before the publication's.
SELECT e.user_id, s.number AS item, %(day)s::date - e.event_day AS age, e.context ->> %(field)s AS segment
FROM core.events e JOIN {served} s USING (item_id)
WHERE e.event_day BETWEEN %(day)s::date - %(days)s + 1 AND %(day)s AND e.event_type = 'purchase'
