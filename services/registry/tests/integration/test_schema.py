"""The migrations make the tables that the code believes in, and the tables refuse what must not be."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from millrace_registry.adapters import tables
from millrace_registry.adapters.sql import SqlPipelines, SqlVersions
from millrace_registry.bootstrap import MIGRATIONS


@pytest.fixture
def story(database, world_class, file):
    """Two versions of one pipeline: the champion before, and the champion."""
    with database.transaction() as connection:
        world = world_class(SqlPipelines(connection), SqlVersions(connection))
        world.apply(file())
        world.train(1)
        world.train(2)
    return database


def test_the_migrations_make_these_tables_and_no_others(database):
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.METADATA) == []


def test_migrating_again_changes_nothing(database):
    database.migrate(MIGRATIONS)

    with database.reading() as connection:
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0004"
        )


def rows_of(connection, table):
    return [dict(row) for row in connection.execute(select(table)).mappings()]


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        (tables.model_versions, {"version": 9, "run_id": "run-9"}),
        (tables.model_versions, {"version": 9, "stage": "rejected"}),
        (tables.model_versions, {"run_id": "run-9", "stage": "rejected"}),
        (tables.model_versions, {"version": 9, "run_id": "run-9", "stage": "good"}),
        (tables.model_versions, {"version": 9, "run_id": "run-9", "stage": "rejected", "pipeline": "trams"}),
        (tables.promotions, {"cause_id": "another"}),
        (tables.promotions, {"epoch": 9}),
        (tables.promotions, {"epoch": 9, "cause_id": "another", "version": 9}),
        (tables.pipeline_versions, {}),
        (tables.pipelines, {}),
    ],
    ids=[
        "two champions", "a run twice", "a version twice", "an unknown stage", "of no pipeline", "an epoch twice",
        "a message twice", "a promotion of nothing", "a file version twice", "a pipeline twice",
    ],
)  # fmt: skip
def test_the_database_refuses(story, table, changes):
    with story.reading() as connection:
        row = rows_of(connection, table)[-1]
    assert row.get("stage", "champion") == "champion"

    with pytest.raises(IntegrityError), story.transaction() as connection:
        connection.execute(insert(table).values(row | changes))
