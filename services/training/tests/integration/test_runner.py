"""What can befall a run."""

import asyncio
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from millrace_artifacts.store import ObjectStore
from millrace_kernel.errors import TransientError
from millrace_testkit.eventually import eventually, running
from millrace_training.adapters import runner as runner_module
from millrace_training.adapters.children import Children
from millrace_training.adapters.lake import Kind
from millrace_training.adapters.runs import SqlRuns
from millrace_training.bootstrap import training

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def service_with(settings, neighbours):
    made = []

    def service_with(children, **changed):
        made.append(
            training(
                settings.model_copy(update=changed),
                neighbours.broker,
                chance=lambda: 0.5,
                children=children,
            )
        )
        return made[-1]

    yield service_with
    for service in made:
        service.database.close()


async def test_a_fit_whose_process_is_killed_fails_the_run_and_nothing_else(
    neighbours, service_with, quick, monkeypatch
):
    monkeypatch.setattr(runner_module, "_job", lambda *_: signal.SIGKILL)
    async with running(*service_with(Children(signal.raise_signal, type(None))).components(quick)):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        [(failed, _)] = await neighbours.hears("TrainingFailed")
        await neighbours.retrain()
        await neighbours.hears("RetrainRequested", 2)

    assert "was killed by signal 9 (SIGKILL)" in failed.reason


async def test_a_fit_that_takes_too_long_fails_the_run(
    neighbours, service_with, quick, file, monkeypatch
):
    monkeypatch.setattr(runner_module, "_job", lambda *_: 60)
    service = service_with(Children(time.sleep, type(None)), training_fit_seconds=0.1)
    async with running(*service.components(quick)):
        await neighbours.apply(
            file.replace("holdout: {last: 20}", "holdout: {last: 20}\n    search: {timeout: 100ms}")
        )
        await neighbours.rows(0, 60)
        [(failed, _)] = await neighbours.hears("TrainingFailed")

    assert failed.reason == "the fit took longer than 0.2 s and was stopped"
    assert service.overview.runs("bikes", 1)[0].state == "failed"


async def test_a_run_waits_for_an_object_store_that_is_away(
    neighbours, service, quick, monkeypatch
):
    away = [TransientError("away"), TransientError("still away")]
    put = ObjectStore.put

    def put_later(store, key, content):
        if away:
            raise away.pop()
        return put(store, key, content)

    monkeypatch.setattr(ObjectStore, "put", put_later)
    async with running(*service.components(quick)):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        await neighbours.hears("TrainingCompleted")

    assert away == []
    assert neighbours.names() == ["RetrainRequested", "TrainingStarted", "TrainingCompleted"]


def damage(uri):
    Path(urlsplit(uri).path).write_bytes(b"something else")


async def test_a_damaged_champion_fails_the_run_in_words(neighbours, service, quick, settings):
    async with running(*service.components(quick)):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        [(first, _)] = await neighbours.hears("TrainingCompleted")
        damage(first.artifact_uri)
        await neighbours.promote(first)
        await eventually(lambda: service.overview.status("bikes").champion_version == 1)
        await neighbours.retrain()
        [(failed, _)] = await neighbours.hears("TrainingFailed")

    assert "the object was damaged or replaced" in failed.reason


async def test_a_run_is_claimed_by_one_of_two_processes_and_given_back_by_one_that_dies(
    neighbours, service_with, quick, monkeypatch, database_url
):
    monkeypatch.setattr(runner_module, "_job", lambda *_: 60)
    one = service_with(Children(time.sleep, type(None)))
    async with running(*one.components(quick)):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        await neighbours.hears("TrainingStarted")
        [waiting] = SqlRuns(one.database).open()
        if not one.database.is_sqlite:
            other = SqlRuns(service_with(Children(time.sleep, type(None))).database)
            assert not await asyncio.to_thread(other.claim, waiting.run)

    runs = SqlRuns(one.database)
    assert runs.claim(waiting.run)
    runs.release(waiting.run)


async def test_rows_go_to_the_lake_when_many_have_gathered_without_any_run(
    neighbours, service, settings, quick
):
    async with running(*service.components(quick, lake_after_rows=30)):
        await neighbours.apply()
        await neighbours.rows(0, 20)
        lake = service.lake
        await eventually(lambda: rows_in(lake) >= 30 and staged(service) < 30)

    assert rows_in(lake) + staged(service) == 40


def rows_in(lake) -> int:
    import pyarrow.compute as pc

    at = lake.versions("bikes")
    return sum(
        lake.read(kind, "bikes", version, ["event_id"], pc.scalar(True)).num_rows
        for kind, version in ((Kind.VECTORS, at.vectors), (Kind.LABELS, at.labels))
    )


def staged(service) -> int:
    with service.database.reading() as connection:
        return sum(
            connection.execute(text(f"SELECT count(*) FROM {table}")).scalar()
            for table in ("staged_vectors", "staged_labels")
        )
