ALTER TABLE ops.loads ADD COLUMN docs text;
COMMENT ON COLUMN ops.loads.docs IS 'Key in the object store of Great Expectations'' page about this load''s checks; a tab of the Airflow task shows it';
