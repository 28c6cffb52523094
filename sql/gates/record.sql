INSERT INTO ops.gate_results (family, model_version, gate, verdict, refuses, value, low, high, threshold, sentence)
VALUES (%(family)s, %(model_version)s, %(gate)s, %(verdict)s, %(refuses)s, %(value)s, %(low)s, %(high)s, %(threshold)s, %(sentence)s)
