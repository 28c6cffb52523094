-- Airflow keeps what was typed into the form: in the run, and in its audit log. Both forget it once the erasure is proved.
UPDATE log SET extra = NULL WHERE dag_id = %(dag)s AND extra IS NOT NULL;
UPDATE dag_run SET conf = jsonb_set(conf::jsonb, '{{users}}', '["<erased>"]')
WHERE dag_id = %(dag)s AND jsonb_typeof(conf::jsonb -> 'users') = 'array'
  AND EXISTS (SELECT FROM jsonb_array_elements_text(conf::jsonb -> 'users') AS typed WHERE btrim(typed, E' \t\n\r') = ANY (%(ids)s::text[]))
