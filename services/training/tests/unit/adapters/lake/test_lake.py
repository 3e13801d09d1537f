"""From what came, through staging, into Delta tables: each row once, whatever is killed when."""

from io import BytesIO

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from millrace_kernel.ids import PipelineName, RunId
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import HOUR, Instant
from millrace_training.adapters.lake import delta as lake_module
from millrace_training.adapters.lake.delta import Kind
from millrace_training.adapters.lake.settling import Settler
from millrace_training.adapters.sql.staging import SqlStaging, Tally
from millrace_training.domain.events import FeaturesComputed, Run

BIKES = PipelineName("bikes")
ONE = frozenset({1})


@pytest.fixture
def came(database):
    def came(*events) -> None:
        with database.transaction() as connection:
            staging = SqlStaging(connection, Tally())
            for event in events:
                if isinstance(event, FeaturesComputed):
                    staging.add_vector(event)
                else:
                    staging.add_label(event)
            staging.flush()

    return came


def ids(lake, kind) -> list[str]:
    versions = lake.versions(BIKES)
    version = versions.vectors if kind is Kind.VECTORS else versions.labels
    return sorted(
        lake.read(kind, BIKES, version, ["event_id"], pc.scalar(True))
        .column("event_id")
        .to_pylist()
    )


def run_as_of(at: int, number: int = 1) -> Run:
    return Run(BIKES, RunId(f"run-{number}"), number, 1, Trigger.FIRST, "cause", Instant(at))


def rows_of(taken):
    dataset, content = taken
    rows = pq.read_table(BytesIO(content))
    assert rows.num_rows == dataset.rows
    return rows


def test_what_came_is_in_the_lake_with_all_its_values(came, settler, lake, world):
    came(world.vector(1), world.label(1), world.retraction(2))

    settler.settle(BIKES)

    versions = lake.versions(BIKES)
    [vector] = lake.read(Kind.VECTORS, BIKES, versions.vectors, None, pc.scalar(True)).to_pylist()
    assert vector == {
        "event_id": "e00001",
        "entity": "s1",
        "event_time_us": world.hour(1),
        "recorded_at_us": world.hour(1),
        "pipeline_version": 1,
        "numbers": [1.0, 1 / 7],
        "categories": ["wet"],
        "offset": 0,
    }
    labels = lake.read(
        Kind.LABELS, BIKES, versions.labels, ["number", "text", "retracted"], pc.scalar(True)
    )
    assert sorted(labels.to_pylist(), key=str) == [
        {"number": 10.0, "text": None, "retracted": False},
        {"number": None, "text": None, "retracted": True},
    ]
    assert settler.waiting() == 0


def test_settling_again_changes_nothing(came, settler, lake, world):
    came(world.vector(1), world.label(1))
    settler.settle(BIKES)
    before = lake.versions(BIKES)

    settler.settle(BIKES)

    assert lake.versions(BIKES) == before


def test_a_kill_between_the_lakes_commit_and_the_deletion_leaves_no_row_twice_and_none_missing(
    came, database, settler, lake, world
):
    came(*(world.vector(number) for number in range(6)))
    killed = Settler(database, lake)
    killed._delete = raise_killed

    with pytest.raises(KilledError):
        killed.settle(BIKES)
    came(world.vector(6), world.vector(7))
    settler.settle(BIKES)

    assert ids(lake, Kind.VECTORS) == [world.id(number) for number in range(8)]
    assert settler.waiting() == 0


def test_a_kill_before_the_lakes_commit_loses_nothing(came, settler, lake, world, monkeypatch):
    came(*(world.vector(number) for number in range(6)))
    monkeypatch.setattr(lake_module, "write_deltalake", raise_killed)

    with pytest.raises(KilledError):
        settler.settle(BIKES)
    monkeypatch.undo()
    settler.settle(BIKES)

    assert ids(lake, Kind.VECTORS) == [world.id(number) for number in range(6)]


def test_two_that_settle_at_once_append_once(came, database, settler, lake, world, monkeypatch):
    came(*(world.vector(number) for number in range(4)))
    lake.versions(BIKES)
    others = []

    def write_after_another(*args, **kwargs):
        if not others:
            others.append(True)
            Settler(database, lake).settle(BIKES)
        write_deltalake(*args, **kwargs)

    monkeypatch.setattr(lake_module, "write_deltalake", write_after_another)
    settler.settle(BIKES)

    assert ids(lake, Kind.VECTORS) == [world.id(number) for number in range(4)]


def test_more_than_fits_at_once_is_settled_in_parts(came, database, lake, world):
    came(*(world.vector(number) for number in range(7)))

    Settler(database, lake, at_once=2).settle(BIKES)

    assert ids(lake, Kind.VECTORS) == [world.id(number) for number in range(7)]


def test_each_pipeline_has_tables_of_its_own(came, settler, lake, world):
    came(world.vector(1), world.vector(2, pipeline=PipelineName("flights")))

    settler.settle_all()

    assert ids(lake, Kind.VECTORS) == ["e00001"]
    assert settler.waiting() == 0


def test_any_tool_can_read_the_lake(came, settler, world, tmp_path):
    came(world.vector(1))
    settler.settle(BIKES)

    assert DeltaTable(tmp_path / "lake" / "bikes" / "vectors").to_pyarrow_table().num_rows == 1


def test_a_dataset_is_the_newest_labelled_rows_in_event_time_order(
    came, settler, taker, pipeline, world
):
    came(*(world.vector(number) for number in range(300, 0, -1)))
    came(*(world.label(number) for number in range(300) if number % 5))
    settler.settle(BIKES)

    rows = rows_of(taker.take(run_as_of(world.hour(400)), pipeline, ONE))

    labelled = [number for number in range(1, 300) if number % 5][-220:]
    assert rows.column("event_id").to_pylist() == [world.id(number) for number in labelled]
    assert rows.column("label").to_pylist() == [10.0 * number for number in labelled]
    assert rows.column("numbers").to_pylist()[-1] == [299.0, 299 % 7 / 7]
    assert rows.schema.names == ["event_id", "event_time_us", "numbers", "categories", "label"]


def test_a_dataset_knows_where_it_comes_from(came, settler, taker, lake, store, pipeline, world):
    came(
        *(world.vector(number) for number in range(30)),
        *(world.label(number) for number in range(30)),
    )
    settler.settle(BIKES)

    dataset, content = taker.take(run_as_of(world.hour(40)), pipeline, ONE)

    assert (dataset.vectors_version, dataset.labels_version) == (1, 1)
    assert (dataset.first_event_time, dataset.last_event_time) == (world.hour(0), world.hour(29))
    assert taker.content(dataset) == store.get(dataset.uri, dataset.sha256) == content


def test_the_same_run_takes_the_same_dataset_though_more_came_and_the_files_are_others(
    came, settler, taker, pipeline, world
):
    came(
        *(world.vector(number) for number in range(40)),
        *(world.label(number) for number in range(40)),
    )
    settler.settle(BIKES)
    first, _ = taker.take(run_as_of(world.hour(30)), pipeline, ONE)

    came(
        world.vector(41),
        world.label(41),
        world.label(3, 77.0, after=100 * HOUR),
        world.retraction(4, after=99 * HOUR),
    )
    settler.settle(BIKES)
    second, _ = taker.take(run_as_of(world.hour(30)), pipeline, ONE)

    assert (first.sha256, first.rows) == (second.sha256, 31)
    assert first.labels_version < second.labels_version


def test_a_correction_counts_from_when_it_was_known(came, settler, taker, pipeline, world):
    came(world.vector(1), world.label(1), world.label(1, 5.0, after=2 * HOUR))
    settler.settle(BIKES)

    labels = [
        rows_of(taker.take(run_as_of(world.hour(hour)), pipeline, ONE)).column("label").to_pylist()
        for hour in (2, 3)
    ]

    assert labels == [[10.0], [5.0]]


def test_rows_of_other_columns_are_left_out(came, settler, taker, pipeline, world):
    came(world.vector(1, version=1), world.vector(2, version=2), world.vector(3, version=3))
    came(*(world.label(number) for number in (1, 2, 3)))
    settler.settle(BIKES)

    rows = rows_of(taker.take(run_as_of(world.hour(9)), pipeline, frozenset({1, 3})))

    assert rows.column("event_id").to_pylist() == [world.id(1), world.id(3)]


def test_a_lake_of_many_files_gives_the_same_rows_as_one_read_from_the_beginning(
    came, settler, taker, lake, pipeline, world, monkeypatch
):
    for start in range(0, 2000, 250):
        came(*(world.vector(number) for number in range(start, start + 250)))
        came(
            *(
                world.label(number)
                for number in range(start, start + 250)
                if number < 800 or number % 2
            )
        )
        settler.settle(BIKES)
    read_from = []
    reading = lake.read
    monkeypatch.setattr(
        lake, "read", lambda *args: read_from.append(str(args[-1])) or reading(*args)
    )

    quick = rows_of(taker.take(run_as_of(world.hour(3000)), pipeline, ONE))

    monkeypatch.setattr(taker, "_beginnings", lambda *_: iter(()))
    assert quick.equals(rows_of(taker.take(run_as_of(world.hour(3000)), pipeline, ONE)))
    assert f"event_time_us >= {world.hour(1499) + 1}" in read_from[0]
    assert len(read_from) == 4, "once for the quick dataset, once for the other, two tables each"


def test_a_dataset_of_a_pipeline_that_nothing_is_known_of_is_none(taker, pipeline, world):
    assert taker.take(run_as_of(world.hour(1)), pipeline, ONE) is None


def test_classes_are_texts(came, settler, taker, file, world):
    from millrace_contracts.pipeline_file import read_pipeline

    text = file.replace("kind: regression", "kind: multiclass").replace("[linear]", "[logistic]")
    came(world.vector(1), world.label(1, "many"))
    settler.settle(BIKES)

    rows = rows_of(taker.take(run_as_of(world.hour(9)), read_pipeline(text, version=1), ONE))

    assert rows.column("label").to_pylist() == ["many"]


class KilledError(BaseException):
    """As kill -9 would: nothing catches it."""


def raise_killed(*_args, **_kwargs):
    raise KilledError
