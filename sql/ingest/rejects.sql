SELECT day, file, split_part(reason, ': ', 1) AS why, count(*) AS rows
FROM ops.rejected_rows
WHERE kind = %(kind)s AND (%(day)s::date IS NULL OR day = %(day)s) AND reason ILIKE %(reason)s AND file ILIKE %(file)s
GROUP BY day, file, why ORDER BY day, rows DESC, file, why
