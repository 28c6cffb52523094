SELECT family, version, uri, kind, reason FROM ops.champions WHERE family = %(family)s AND until IS NULL
