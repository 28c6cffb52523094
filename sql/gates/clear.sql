DELETE FROM ops.gate_results WHERE family = %(family)s AND model_version = %(model_version)s
