DELETE FROM ops.rejected_rows WHERE seen_at < now() - make_interval(days => %(days)s)
