-- Rows of this folder that belong to a neighbouring day (by their time) and are already there.
DELETE FROM {leaf} AS late
USING core.events AS known
WHERE known.event_day IN (%(day)s::date - 1, %(day)s::date + 1) AND known.event_day = (late.event_time AT TIME ZONE 'UTC')::date
  AND known.event_id = late.event_id AND (late.event_time AT TIME ZONE 'UTC')::date <> %(day)s::date
RETURNING late.event_id
