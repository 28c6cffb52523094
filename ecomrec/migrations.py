"""Brings a shop database to the newest schema: `sql/migrations/NNNN_name.sql`, each applied once, in one transaction."""

from ecomrec import database


def migrate(dsn: str) -> list[str]:
    """Applies what is missing; returns the names applied. Safe to call by several processes at once."""
    applied = []
    with database.connect(dsn, application="ecomrec migrate") as connection, connection.cursor() as cursor:
        database.lock(connection, "migrations")
        cursor.execute("CREATE SCHEMA IF NOT EXISTS ops")
        cursor.execute("CREATE TABLE IF NOT EXISTS ops.migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())")
        cursor.execute("SELECT name FROM ops.migrations")
        done = {name for (name,) in cursor.fetchall()}
        for path in sorted((database.SQL_FOLDER / "migrations").glob("*.sql")):
            if path.stem not in done:
                cursor.execute(path.read_text(encoding="utf-8"))
                cursor.execute("INSERT INTO ops.migrations (name) VALUES (%s)", (path.stem,))
                applied.append(path.stem)
    return applied
