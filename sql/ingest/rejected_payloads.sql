SELECT day, file, line, reason, payload
FROM ops.rejected_rows
WHERE kind = %(kind)s AND (%(day)s::date IS NULL OR day = %(day)s) AND reason ILIKE %(reason)s AND file ILIKE %(file)s
ORDER BY day, file, line LIMIT %(rows)s
