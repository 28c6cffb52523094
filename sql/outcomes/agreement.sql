-- Correlation of what the gates measured with what people did, over the versions that served at least a week.
SELECT corr(offline, online) AS correlation, count(*) AS versions FROM analytics.offline_online WHERE days >= 7
