-- The verdicts on the newest candidate of each family.
SELECT family, model_version, gate, verdict, value, low, high, threshold, sentence
FROM analytics.model_gates g
WHERE decided_at >= (SELECT max(decided_at) - interval '1 minute' FROM analytics.model_gates n WHERE n.family = g.family)
ORDER BY family, gate
