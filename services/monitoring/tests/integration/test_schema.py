"""The schema and what is kept in it, on both databases."""

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select

from millrace_bus import tables as bus
from millrace_kernel.ids import EventId, ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.time import Instant
from millrace_monitoring.adapters import tables
from millrace_monitoring.adapters.sql import (
    SqlJoins,
    SqlMonitors,
    SqlOverview,
    SqlPipelines,
    SqlReferences,
)
from millrace_monitoring.bootstrap import MIGRATIONS
from millrace_monitoring.domain.joins import Answer, Waiting
from millrace_monitoring.domain.monitor import Monitor
from millrace_monitoring.domain.windows import reference_of

BIKES = PipelineName("bikes")


def test_the_migrations_make_these_tables_and_the_buss(database):
    with database.reading() as connection:
        names = set(inspect(connection).get_table_names())
        assert names == {*tables.METADATA.tables, *bus.METADATA.tables, "alembic_version"}
        for metadata in (tables.METADATA, bus.METADATA):
            others = names - set(metadata.tables)
            context = MigrationContext.configure(
                connection,
                opts={
                    "compare_type": True,
                    "include_name": lambda name, kind, _, others=others: (
                        kind != "table" or name not in others
                    ),
                },
            )
            assert compare_metadata(context, metadata) == []


def test_migrating_again_changes_nothing(database):
    database.migrate(MIGRATIONS)


def test_everything_that_is_remembered_comes_back(
    database, new_heart, watching, promoted, traffic, labels_of, a_label, a_prediction
):
    heart = new_heart(watching())
    heart.hear(promoted())
    rng = np.random.default_rng(1)
    predictions = list(traffic(rng, 950, mean=25.0))
    heart.hear(predictions)
    heart.hear(labels_of(rng, predictions[:930], error=30.0))
    assert heart.monitors[BIKES].standing.findings

    with database.transaction() as connection:
        pipelines, references = SqlPipelines(connection), SqlReferences(connection)
        monitors, joins = SqlMonitors(connection), SqlJoins(connection)
        pipelines.put(heart.pipelines[BIKES])
        references.put(BIKES, heart.references[BIKES])
        monitors.of(BIKES)
        monitors.put(BIKES, heart.monitors[BIKES])
        for (pipeline, event_id), waiting in heart.joins.items():
            joins.put(pipeline, event_id, waiting)
        monitors.flush()
        joins.flush()

    assert SqlOverview(database).of(BIKES) == (
        heart.pipelines[BIKES],
        heart.references[BIKES],
        heart.monitors[BIKES],
    )
    with database.transaction() as connection:
        assert SqlMonitors(connection).of(BIKES) == heart.monitors[BIKES]
        joins = SqlJoins(connection)
        assert {key: joins.of(*key) for key in heart.joins} == dict(heart.joins)


@pytest.mark.parametrize("kind", [LabelKind.BINARY, LabelKind.MULTICLASS])
def test_what_is_remembered_of_classes_comes_back(
    database, new_heart, watching, a_prediction, a_label, kind
):
    heart = new_heart(watching(kind))
    truths = (1.0, 0.0) if kind is LabelKind.BINARY else ("sun", "rain")
    for number, truth in enumerate(truths):
        heart.hear(a_prediction(number, model_version=0, epoch=0, answer=truths[0]))
        heart.hear(a_label(number, truth))

    with database.transaction() as connection:
        monitors = SqlMonitors(connection)
        monitors.of(BIKES)
        monitors.put(BIKES, heart.monitors[BIKES])
        monitors.flush()

    with database.transaction() as connection:
        assert SqlMonitors(connection).of(BIKES) == heart.monitors[BIKES]


def test_before_anything_is_known_there_is_an_empty_monitor(database):
    with database.transaction() as connection:
        assert SqlPipelines(connection).of(BIKES) is None
        assert SqlReferences(connection).of(BIKES) is None
        assert SqlMonitors(connection).of(BIKES) == Monitor()
    assert SqlOverview(database).names() == []
    assert SqlOverview(database).of(BIKES) is None


def test_a_newer_champion_replaces_the_one_before(database, a_profile):
    for epoch in (1, 2):
        with database.transaction() as connection:
            reference = reference_of(ModelVersionNumber(epoch), epoch, a_profile())
            SqlReferences(connection).put(BIKES, reference)

    with database.reading() as connection:
        kept = SqlReferences(connection).of(BIKES)
    assert kept is not None
    assert kept.epoch == 2


def a_waiting(number: int, since: int = 0) -> Waiting:
    answer = Answer(ModelVersionNumber(1), 1, True, 1.5, Instant(number))
    return Waiting((answer,), None, Instant(since), number)


def kept(database) -> list[str]:
    with database.reading() as connection:
        return sorted(connection.execute(select(tables.waiting.c.event_id)).scalars())


def test_sides_come_change_and_go_in_one_flush(database):
    with database.transaction() as connection:
        joins = SqlJoins(connection)
        for number in range(3):
            joins.put(BIKES, EventId(f"event-{number}"), a_waiting(number))
        joins.flush()
    assert kept(database) == ["event-0", "event-1", "event-2"]

    with database.transaction() as connection:
        joins = SqlJoins(connection)
        joins.put(BIKES, EventId("event-1"), a_waiting(20))
        joins.put(BIKES, EventId("event-2"), Waiting())
        joins.put(BIKES, EventId("come and gone"), a_waiting(5))
        joins.put(BIKES, EventId("come and gone"), Waiting())
        joins.flush()
    assert kept(database) == ["event-0", "event-1"]

    with database.transaction() as connection:
        assert SqlJoins(connection).of(BIKES, EventId("event-1")) == a_waiting(20)
        assert SqlJoins(connection).of(PipelineName("trams"), EventId("event-1")) == Waiting()


def test_only_what_is_past_both_its_number_and_its_time_is_forgotten(database):
    with database.transaction() as connection:
        joins = SqlJoins(connection)
        joins.put(BIKES, EventId("past both"), a_waiting(1, since=1))
        joins.put(BIKES, EventId("past its number"), a_waiting(1, since=9))
        joins.put(BIKES, EventId("past its time"), a_waiting(9, since=1))
        joins.put(PipelineName("trams"), EventId("of another"), a_waiting(1, since=1))
        joins.flush()

    with database.transaction() as connection:
        joins = SqlJoins(connection)
        joins.forget_before(BIKES, 5, Instant(5))
        joins.flush()

    assert kept(database) == ["of another", "past its number", "past its time"]
