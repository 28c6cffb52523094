SELECT count(*) AS users FROM kept
