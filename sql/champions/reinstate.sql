UPDATE ops.champions SET withdrawn = NULL WHERE family = %(family)s AND version = %(version)s
