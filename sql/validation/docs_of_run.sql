-- The pages of one Airflow run's loads, newest first.
SELECT docs, kind, min(day) AS first, max(day) AS last, string_agg(DISTINCT state, ', ') AS state
FROM ops.loads WHERE actor = %(actor)s AND docs IS NOT NULL
GROUP BY docs, kind ORDER BY max(load_id) DESC
