DELETE FROM ops.validations WHERE checked_at < now() - make_interval(days => %(days)s)
