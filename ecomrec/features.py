"""What training may read: recipes/features.toml lists every column of every source; anything else stops the build of a data set."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from ecomrec.errors import AuditFailed

FILE = Path(__file__).parent / "recipes" / "features.toml"


def check(source: str, columns: Iterable[str]) -> None:
    """Raises AuditFailed when `source` (the name of a statement below sql/) gives a column that is not listed for it."""
    listed = tomllib.loads(FILE.read_text(encoding="utf-8"))[source]
    if extra := sorted(set(columns) - set(listed)):
        raise AuditFailed(f"training would read {', '.join(extra)} from sql/{source}.sql, which {FILE.name} does not list",
                          "say there what the column is for and let somebody review it, or take it out of the statement")
