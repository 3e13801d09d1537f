"""What can befall a run."""

import asyncio
import dataclasses
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import insert, text

from millrace_contracts.message import Cause as BusCause
from millrace_kernel.time import EARLIEST
from millrace_testkit.eventually import eventually, running
from millrace_training.adapters.lake.delta import Kind
from millrace_training.adapters.processes.children import Children
from millrace_training.adapters.running import runner as runner_module
from millrace_training.adapters.running.runner import Runner
from millrace_training.adapters.sql.runs import SqlRuns
from millrace_training.adapters.tables import runs as runs_table

pytestmark = pytest.mark.timeout(180)


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


async def test_a_run_waits_for_an_object_store_that_is_away(neighbours, service, quick, store_away):
    to_come = store_away()
    async with running(*service.components(quick)):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        await neighbours.hears("TrainingCompleted")

    assert to_come == []
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


async def test_a_fit_with_too_much_memory_fails_its_run_with_the_reason_and_the_cost(
    neighbours, service_with, children, quick
):
    service = service_with(children)
    runner = next(part for part in service.components(quick) if isinstance(part, Runner))
    settings = dataclasses.replace(runner._settings, memory_bytes=1 << 20)
    parts = [part for part in service.components(quick) if not isinstance(part, Runner)]
    limited = Runner(
        parts[0].accept, runner._workshop, settings, chance=lambda: 0.5, traces=runner._traces
    )
    async with running(*parts, limited):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        await neighbours.hears("RetrainRequested")
        limited.wake()
        [(failed, _)] = await neighbours.hears("TrainingFailed")

    assert "more than the 1 MiB that it may have" in failed.reason
    assert failed.peak_memory_bytes > 1 << 20
    [run] = service.overview.runs("bikes", 1)
    assert (run.state, run.peak_memory_bytes) == ("failed", failed.peak_memory_bytes)
    costs = service.overview.costs("bikes")
    assert (costs.runs, costs.promotions, costs.money) == (1, 0, None)


async def test_what_a_run_cost_is_told_and_counted_per_promotion(
    neighbours, service_with, children, quick
):
    service = service_with(
        children,
        training_price_cpu_hour=3600.0,
        training_currency="EUR",
        training_cards=False,
    )
    async with running(*service.components(quick)):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        [(completed, _)] = await neighbours.hears("TrainingCompleted")
        await neighbours.promote(completed)
        await eventually(lambda: service.overview.costs("bikes").promotions == 1)

    costs = service.overview.costs("bikes")
    assert completed.cpu_seconds > 0
    assert completed.peak_memory_bytes > 1 << 20
    assert costs.money == pytest.approx(costs.cpu_seconds) == costs.money_per_promotion
    assert costs.cpu_seconds == pytest.approx(completed.cpu_seconds)
    assert (costs.runs, costs.currency, costs.money_per_point) == (1, "EUR", None)


async def test_of_several_runs_that_wait_the_most_urgent_goes_first(service_with, children):
    service = service_with(children)
    with service.database.transaction() as connection:
        for number, trigger in enumerate(("update", "schedule", "command", "drift"), 1):
            connection.execute(insert(runs_table), waiting_run(f"p{number}", trigger, number))
    runner = next(part for part in service.components() if isinstance(part, Runner))

    assert [run.run.trigger.value for run in await asyncio.to_thread(runner._next, 2)] == [
        "command",
        "drift",
    ]
    assert len(await asyncio.to_thread(runner._next, 9)) == 4


async def test_a_pipeline_whose_runs_cost_much_lets_another_one_go_first(service_with, children):
    service = service_with(children)
    ended = {"state": "finished", "cpu_seconds": 50.0, "run_number": 7, "run_id": "ended"}
    with service.database.transaction() as connection:
        connection.execute(insert(runs_table), waiting_run("dear", "drift", 1) | ended)
        connection.execute(insert(runs_table), waiting_run("dear", "drift", 2))
        connection.execute(insert(runs_table), waiting_run("cheap", "drift", 3))
    runner = next(part for part in service.components() if isinstance(part, Runner))

    assert [run.run.pipeline for run in await asyncio.to_thread(runner._next, 1)] == ["cheap"]


def waiting_run(pipeline: str, trigger: str, number: int) -> dict[str, object]:
    return {
        "pipeline": pipeline,
        "run_number": 1,
        "run_id": f"run-{number}",
        "pipeline_version": 1,
        "trigger": trigger,
        "cause_id": "cause",
        "as_of_us": 0,
        "state": "requested",
        "open_number": number,
        "origin": BusCause("cause", EARLIEST, "correlation", None).to_text(),
    }
