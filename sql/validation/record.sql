INSERT INTO ops.validations (kind, day, expectation, severity, passed, observed)
VALUES (%(kind)s, %(day)s, %(expectation)s, %(severity)s, %(passed)s, %(observed)s)
