-- subject is family/version
SELECT DISTINCT ON (split_part(subject, '/', 1)) split_part(subject, '/', 1) AS family, split_part(subject, '/', 2) AS version,
       detail ->> 'reason' AS reason
FROM ops.audit_log
WHERE action = 'promote'
ORDER BY split_part(subject, '/', 1), at DESC
