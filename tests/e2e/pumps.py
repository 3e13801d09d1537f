"""A pipeline whose world turns round, and a loop that is given the time it needs: what comes next waits for it, not for a clock."""

import asyncio
import csv
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx2
import numpy as np

from millrace_proto.v1 import (
    deployments_pb2,
    drift_pb2,
    models_pb2,
    predictions_pb2,
    training_pb2,
)
from millrace_testkit.eventually import eventually
from millrace_testkit.reading import everything
from millrace_testkit.stack import Stack

ROWS, TURNS_AT = 3_000, 1_600
STRETCH = 350  # events after which the loop may take its turn
SECONDS = 180.0  # of waiting for anything, on a busy machine
PIPELINE = """
apiVersion: millrace/v1
kind: Pipeline
metadata: {name: pumps, owner: tests, description: a linear law that turns round}
spec:
  event:  {id: id, time: at, entity: pump}
  fields: {load: float, heat: float, site: category}
  features:
    - {name: load_change, expr: "load - lag(load, 1)"}
    - {name: heat_mean_1h, agg: mean, of: heat, window: 1h}
    - {name: wear_mean_6h, agg: mean, of: label, window: 6h}
  label: {field: wear, kind: regression, delay: 10m}
  model:
    candidates: [xgboost, linear]
    train_on: {last: 1500, first: 600}
    holdout: {last: 100}
    fallback: wear_mean_6h
  gates:
    - {metric: mae, max: 50}
  monitoring: {window: 200}
  retraining: {on: [drift, performance], cooldown: 2h}
"""


def histories(folder: Path) -> list[Path]:
    """Files of minute after minute of two pumps: wear follows load and heat; from the second file on against the load, which
    also grows."""
    chance = np.random.default_rng(7)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    borders = [0, *range(TURNS_AT, ROWS, STRETCH), ROWS]
    files = []
    for start, end in pairwise(borders):
        files.append(folder / f"{start:04}.csv")
        with files[-1].open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["id", "at", "pump", "load", "heat", "site", "wear"])
            rows.writerows(_minute(number, chance, began) for number in range(start, end))
    return files


def _minute(number: int, chance: np.random.Generator, began: datetime) -> Sequence[str]:
    turned = number >= TURNS_AT
    load, heat = chance.normal(2.0 if turned else 0.0), chance.normal()
    wear = 20 + (-4 if turned else 4) * load + 2 * heat + chance.normal(0, 0.3)
    at = (began + timedelta(minutes=number)).isoformat()
    site = "ab"[number % 3 == 0]
    return [
        f"p{number}",
        at,
        f"pump-{number % 2}",
        f"{load:.6f}",
        f"{heat:.6f}",
        site,
        f"{wear:.6f}",
    ]


def live_through(stack: Stack, folder: Path, services: Iterator[str]) -> None:
    """The whole story: apply, replay, kill one service after the other on the way, and let the loop take its turns."""
    (folder / "pumps.yaml").write_text(PIPELINE)
    before, *after = histories(folder)
    stack.millrace("apply", folder / "pumps.yaml")
    _replay(stack, before, rate=100, killing=[next(services) for _ in range(3)])
    asyncio.run(_rest(stack))  # the world turns round only when there is a model to be wrong
    for stretch in after:
        _replay(stack, stretch, rate=80, killing=[*filter(None, [next(services, None)])])
        asyncio.run(_rest(stack))


def _replay(stack: Stack, history: Path, *, rate: int, killing: Sequence[str]) -> None:
    """All of it, scored; meanwhile these services are killed, one after the other."""
    replaying = stack.start("replay", history, "--pipeline", "pumps", "--rate", rate, "--wait")
    for name in killing:
        before = stack.process(name)
        os.kill(before["process"]["pid"], signal.SIGKILL)
        _wait_until_back(stack, name, before["restarts"])
    output, _ = replaying.communicate(timeout=SECONDS)
    assert replaying.returncode == 0, output + stack.logs()


def _wait_until_back(stack: Stack, name: str, restarts: int) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if stack.process(name)["restarts"] > restarts and _is_ready(stack, name):
            return
    raise AssertionError(f"{name} did not come back\n{stack.logs()}")


def _is_ready(stack: Stack, name: str) -> bool:
    try:
        return httpx2.get(f"{stack.url(name)}/health/ready", timeout=1).status_code == 200
    except httpx2.HTTPError:
        return False


async def _rest(stack: Stack) -> None:
    """Until a model answers and nothing that was said waits for an answer: what was scored is joined with its label, what was
    found was decided on, what was asked for was trained, judged, and answers."""

    async def rests() -> bool:
        joined, answered = await joined_by_version(stack), await answers_by_version(stack)
        return joined == answered and not await _open(stack)

    try:
        await eventually(rests, within=SECONDS, what="the loop at rest")
    except AssertionError as error:
        raise AssertionError(f"{error}; open: {await _open(stack)}\n{stack.logs()}") from error


async def _open(stack: Stack) -> set[str]:
    """What waits for an answer, by the ids that it will name."""
    asked = await decoded(stack, "millrace.training", training_pb2.RetrainRequested)
    refused = await decoded(stack, "millrace.training", training_pb2.RetrainSkipped)
    ended = {
        run.run_id
        for kind in (training_pb2.TrainingCompleted, training_pb2.TrainingFailed)
        for run in await decoded(stack, "millrace.training", kind)
    }
    made = await decoded(stack, "millrace.training", training_pb2.TrainingCompleted)
    promoted = await decoded(stack, "millrace.models", models_pb2.ModelPromoted)
    rejected = await decoded(stack, "millrace.models", models_pb2.ModelRejected)
    deployed = {
        model.version
        for model in await decoded(stack, "millrace.deployments", deployments_pb2.ModelDeployed)
    }
    decided = {one.cause_id for one in (*asked, *refused)}
    return (
        ({"a first model"} if not promoted else set())
        | (await _retrain_causes(stack) - decided)
        | ({run.run_id for run in asked} - ended)
        | ({run.run_id for run in made} - {model.run_id for model in (*promoted, *rejected)})
        | {f"version {model.version}" for model in promoted if model.version not in deployed}
    )


async def _retrain_causes(stack: Stack) -> set[str]:
    """Of what monitoring said, what training answers."""
    kinds = {
        kind.DESCRIPTOR.full_name
        for kind in (drift_pb2.DriftDetected, drift_pb2.PerformanceDegraded)
    }
    return {
        message.id
        for message in await everything(stack.bootstrap, "millrace.drift")
        if message.type in kinds
    }


async def decoded(stack: Stack, topic: str, kind: type) -> list:
    name = kind.DESCRIPTOR.full_name
    return [
        kind.FromString(message.value)
        for message in await everything(stack.bootstrap, topic)
        if message.type == name
    ]


async def answers_by_version(stack: Stack) -> Counter[str]:
    """Answers that have a value: those are joined with their labels."""
    answers = await decoded(stack, "millrace.predictions", predictions_pb2.PredictionMade)
    return Counter(str(answer.model_version) for answer in answers if answer.HasField("value"))


async def joined_by_version(stack: Stack) -> dict[str, int]:
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"{stack.url('monitoring')}/v1/pipelines/pumps/status")
    if answer.status_code != 200:
        return {}
    return {version: measured["events"] for version, measured in answer.json()["versions"].items()}
