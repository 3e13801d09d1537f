"""A search survives `kill -9` of the service: what was tried is not tried again, and is told exactly once."""

import asyncio
import signal
import sys
import time

import pytest
from sqlalchemy import text

from millrace_bus.sql import Database
from millrace_bus.topology import ensure_topics
from millrace_proto.v1 import training_pb2
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker
from millrace_training.adapters.processes.children import Children
from millrace_training.adapters.running import runner as runner_module
from millrace_training.bootstrap import training

pytestmark = pytest.mark.timeout(900)
TRIALS = 12
SERVICE = '''
"""Training on a broker in memory, which writes down what it is told."""

import asyncio
import os
import sys

from millrace_bus.topology import ensure_topics
from millrace_testkit.memory import MemoryBroker
from millrace_training.bootstrap import training
from millrace_training.settings import Settings


class Writing(MemoryBroker):
    def append(self, place, messages):
        super().append(place, messages)
        if place.topic == "millrace.training":
            for message in messages:
                headers = dict(message.headers)
                said = headers["ce_type"].decode() + " " + headers["ce_id"].decode()
                os.write(1, (said + " " + message.value.hex() + "\\n").encode())


async def main():
    broker = Writing()
    await ensure_topics(broker)
    made = training(Settings(), broker, chance=lambda: 0.5)
    async with asyncio.TaskGroup() as tasks:
        for part in made.components():
            tasks.create_task(part.run())


if __name__ == "__main__":
    asyncio.run(main())
'''


async def test_a_search_that_was_killed_goes_on_and_repeats_nothing(
    neighbours, settings, children, quick, file, database, tmp_path, monkeypatch
):
    await begin(neighbours, settings, quick, file, monkeypatch)
    environment = {
        "PYTHONPATH": ":".join(sys.path),
        "MILLRACE_HOME": str(settings.millrace_home),
        "TRAINING_DATABASE_URL": settings.training_database_url,
    }
    script, first = tmp_path / "service.py", tmp_path / "first"
    script.write_text(SERVICE)
    with first.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), env=environment, stdout=output
        )
        await eventually(lambda: len(trials(database)) >= 3, within=400, what="3 trials")
        process.send_signal(signal.SIGKILL)
        await process.wait()
    before = trials(database)
    assert 3 <= len(before) < TRIALS
    assert states(database) == ["started"]

    broker = MemoryBroker()
    await ensure_topics(broker)
    tried = []
    service = training(settings, broker, chance=lambda: 0.5, children=Overheard(children, tried))
    neighbours.broker = broker
    try:
        async with running(*service.components(quick)):
            await eventually(
                lambda: "TrainingCompleted" in neighbours.names(), within=400, what="the end"
            )
    finally:
        service.database.close()

    after = trials(database)
    assert [number for number, _ in after] == list(range(1, TRIALS + 1))
    assert after[: len(before)] == before
    assert tried == list(range(len(before) + 1, TRIALS + 1))
    told = in_lines(first.read_text()) | {
        (said.trial, headers["ce_id"]) for said, headers in await neighbours.hears("TrialCompleted")
    }
    assert sorted(number for number, _ in told) == list(range(1, TRIALS + 1))


async def begin(neighbours, settings, quick, file, monkeypatch):
    """A run that has its dataset and was cut off."""
    with monkeypatch.context() as patch:
        patch.setattr(runner_module, "_job", lambda *_: 600)
        idle = training(
            settings,
            neighbours.broker,
            chance=lambda: 0.5,
            children=Children(time.sleep, type(None)),
        )
        async with running(*idle.components(quick)):
            searching = file.replace("candidates: [linear]", "candidates: [random_forest]")
            await neighbours.apply(with_search(searching))
            await neighbours.rows(0, 120)
            await neighbours.hears("TrainingStarted")
        idle.database.close()


def with_search(file):
    search = f"    search: {{trials: {TRIALS}, timeout: 10m}}\n"
    return file.replace("    holdout: {last: 20}\n", "    holdout: {last: 20}\n" + search)


class Overheard:
    """Children of which every trial is counted as it is told."""

    def __init__(self, children, tried):
        self._children = children
        self._tried = tried

    def warm_up(self):
        self._children.warm_up()

    async def run(self, job, limits, heard):
        async def counted(trial):
            self._tried.append(trial.number)
            await heard(trial)

        return await self._children.run(job, limits, counted)


def trials(database: Database) -> list[tuple[int, str]]:
    return rows(database, "SELECT number, kept FROM trials ORDER BY number")


def states(database: Database) -> list[str]:
    return [state for (state,) in rows(database, "SELECT state FROM runs")]


def rows(database: Database, query: str) -> list[tuple]:
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def in_lines(text: str) -> set[tuple[int, str]]:
    found = set()
    for line in text.splitlines():
        kind, event_id, value = line.split(" ")
        if kind.endswith("TrialCompleted"):
            said = training_pb2.TrialCompleted.FromString(bytes.fromhex(value))
            found.add((said.trial, event_id))
    return found
