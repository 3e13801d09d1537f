"""The migrations make the tables that the code expects."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from millrace_bus import tables as bus
from millrace_bus.sql import Database
from millrace_training.adapters.tables import METADATA
from millrace_training.bootstrap import MIGRATIONS


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.db)])
def migrated(request, tmp_path):
    url = (
        f"sqlite:///{tmp_path / 'training.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_database")
    )
    database = Database(url)
    database.migrate(MIGRATIONS)
    yield database
    database.close()


def test_the_migrations_lead_to_the_tables_in_the_code(migrated):
    with migrated.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), METADATA)

    bus_tables = set(bus.METADATA.tables) | {"alembic_version"}
    assert [
        change for change in differences if getattr(change[1], "name", None) not in bus_tables
    ] == []


def test_migrating_again_changes_nothing(migrated):
    before = inspect(migrated.engine).get_table_names()

    migrated.migrate(MIGRATIONS)

    assert inspect(migrated.engine).get_table_names() == before
