"""Alembic's way in."""

from millrace_bus.sql import run_migrations
from millrace_monitoring.adapters.tables import METADATA

run_migrations(METADATA)
