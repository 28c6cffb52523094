-- Airflow keeps what was typed into the form: in the run, and in its audit log. Both forget it once the erasure is proved.
UPDATE log SET extra = NULL WHERE dag_id = %(dag)s AND extra IS NOT NULL;
UPDATE dag_run SET conf = jsonb_set(conf::jsonb, '{{users}}', '["<erased>"]')
WHERE dag_id = %(dag)s AND conf::jsonb -> 'users' ?| %(ids)s::text[]
