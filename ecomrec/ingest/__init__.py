"""Ingest: a day's files → staging → contract → Great Expectations → the live table, in one transaction a day."""

from ecomrec.ingest.catalog import load_catalog, load_catalog_history
from ecomrec.ingest.events import load_events, load_history

__all__ = ["load_catalog", "load_catalog_history", "load_events", "load_history"]
