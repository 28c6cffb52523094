INSERT INTO ops.validations (load_id, kind, day, expectation, severity, passed, observed)
VALUES (%(load_id)s, %(kind)s, %(day)s, %(expectation)s, %(severity)s, %(passed)s, %(observed)s)
