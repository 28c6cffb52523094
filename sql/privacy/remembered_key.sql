-- Ids without a remembered key were stored as they came.
SELECT coalesce((SELECT fingerprint FROM ops.user_key), CASE WHEN EXISTS (SELECT FROM core.events) THEN 'none' END) AS fingerprint
