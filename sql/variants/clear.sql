DELETE FROM ops.model_variants WHERE family = %(family)s AND model_version = %(model_version)s
