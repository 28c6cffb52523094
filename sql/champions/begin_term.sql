INSERT INTO ops.champions (family, version, kind, uri, actor, reason)
VALUES (%(family)s, %(version)s, %(kind)s, %(uri)s, %(actor)s, %(reason)s)
