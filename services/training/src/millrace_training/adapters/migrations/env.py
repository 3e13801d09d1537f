"""Alembic's way in."""

from millrace_bus.sql import run_migrations
from millrace_training.adapters.tables import METADATA

run_migrations(METADATA)
