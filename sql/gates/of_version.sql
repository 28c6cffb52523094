SELECT gate, verdict, refuses, value, low, high, threshold, sentence, decided_at FROM ops.gate_results
WHERE family = %(family)s AND model_version = %(version)s
ORDER BY NOT refuses, gate
