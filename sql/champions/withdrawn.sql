SELECT withdrawn, until FROM ops.champions
WHERE family = %(family)s AND version = %(version)s AND withdrawn IS NOT NULL
ORDER BY term DESC
LIMIT 1
