-- The version that served before the present one and was not rolled back since.
SELECT family, version, uri, kind FROM ops.champions c
WHERE family = %(family)s AND until IS NOT NULL
  AND version <> (SELECT version FROM ops.champions WHERE family = %(family)s AND until IS NULL)
  AND NOT EXISTS (SELECT FROM ops.champions w WHERE w.family = c.family AND w.version = c.version AND w.withdrawn IS NOT NULL)
ORDER BY term DESC
LIMIT 1
