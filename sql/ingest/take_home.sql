-- Copies that the neighbouring days' folders brought of events which this day now has itself.
DELETE FROM core.events AS copy
USING {leaf} AS own
WHERE copy.event_day IN (%(day)s::date - 1, %(day)s::date + 1)
  AND copy.event_time >= %(day)s::timestamp AT TIME ZONE 'UTC' AND copy.event_time < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
  AND own.event_id = copy.event_id
