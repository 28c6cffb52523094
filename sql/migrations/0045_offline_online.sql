-- Do the figures that let a model through foretell what people then do?
CREATE VIEW analytics.offline_online AS
    SELECT o.model_version, g.value AS offline, count(*) AS days, sum(o.users) AS users, sum(o.hit_users)::double precision / sum(o.users) AS online, min(o.day) AS first_day, max(o.day) AS last_day
    FROM analytics.outcomes o
    JOIN ops.gate_results g ON g.family = 'recommender' AND g.gate = 'floor' AND o.model_version LIKE 'recommender/' || g.model_version || ' %'
    WHERE o.users > 0
    GROUP BY o.model_version, g.value;
COMMENT ON VIEW analytics.offline_online IS 'Each recommender version that served: its NDCG@10 before the gates (offline) beside the share of buyers who found one of their purchases in their first ten (online). SELECT corr(offline, online) says whether the gates look at the right thing';
GRANT SELECT ON analytics.offline_online TO ecomrec_analyst;
