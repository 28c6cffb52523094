INSERT INTO ops.gate_results (family, model_version, gate, verdict, value, low, high, threshold, sentence)
VALUES (%(family)s, %(model_version)s, %(gate)s, %(verdict)s, %(value)s, %(low)s, %(high)s, %(threshold)s, %(sentence)s)
ON CONFLICT (family, model_version, gate) DO UPDATE
SET verdict = EXCLUDED.verdict, value = EXCLUDED.value, low = EXCLUDED.low, high = EXCLUDED.high,
    threshold = EXCLUDED.threshold, sentence = EXCLUDED.sentence, decided_at = now()
