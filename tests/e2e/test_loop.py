"""The loop closes on a stream with a known drift, while every service is killed once with kill -9."""

import asyncio
import csv
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import numpy as np
import pytest

from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_contracts.message import Message, Outgoing
from millrace_proto.v1 import (
    drift_pb2,
    events_pb2,
    labels_pb2,
    models_pb2,
    predictions_pb2,
    training_pb2,
)
from millrace_testkit.eventually import eventually
from millrace_testkit.reading import everything
from millrace_testkit.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ROWS, DRIFT_AT = 3_000, 1_600
SERVICES = ("ingestion", "features", "serving", "training", "registry", "monitoring")
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


def history(before: Path, after: Path) -> None:
    """Minute by minute, two pumps: wear follows load and heat; from DRIFT_AT on against the load, which also grows."""
    chance = np.random.default_rng(7)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    with before.open("w", newline="") as first, after.open("w", newline="") as second:
        writers = csv.writer(first), csv.writer(second)
        for rows in writers:
            rows.writerow(["id", "at", "pump", "load", "heat", "site", "wear"])
        for number in range(ROWS):
            turned = number >= DRIFT_AT
            load, heat = chance.normal(2.0 if turned else 0.0), chance.normal()
            wear = 20 + (-4 if turned else 4) * load + 2 * heat + chance.normal(0, 0.3)
            at = (began + timedelta(minutes=number)).isoformat()
            writers[turned].writerow(
                [
                    f"p{number}",
                    at,
                    f"pump-{number % 2}",
                    f"{load:.6f}",
                    f"{heat:.6f}",
                    "ab"[number % 3 == 0],
                    f"{wear:.6f}",
                ]
            )


@pytest.fixture(scope="module")
def looped(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The whole story, once: apply, replay, kill each service on the way, wait until everything is scored."""
    folder = tmp_path_factory.mktemp("pumps")
    (folder / "pumps.yaml").write_text(PIPELINE)
    before, after = folder / "before.csv", folder / "after.csv"
    history(before, after)
    stack.millrace("apply", folder / "pumps.yaml")
    replay(stack, before, rate=100, killing=SERVICES[:3])
    wait_for_a_champion(stack)  # the world turns round only when there is a model to be wrong
    # time for two turns of a loop that dies thrice: training that was killed in a run begins it again, which takes a busy
    # machine 20 seconds
    replay(stack, after, rate=40, killing=SERVICES[3:])
    return stack


def replay(stack: Stack, history: Path, *, rate: int, killing: Sequence[str]) -> None:
    """All of it, scored; meanwhile these services are killed, one after the other."""
    replaying = stack.start("replay", history, "--pipeline", "pumps", "--rate", rate, "--wait")
    for name in killing:
        before = stack.process(name)
        os.kill(before["process"]["pid"], signal.SIGKILL)
        wait_until_back(stack, name, before["restarts"])
    output, _ = replaying.communicate(timeout=300)
    assert replaying.returncode == 0, output + stack.logs()


def wait_for_a_champion(stack: Stack) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = httpx2.get(f"{stack.url('serving')}/v2/models/pumps")
        if answer.status_code == 200 and answer.json()["versions"]:
            return
        time.sleep(0.2)
    raise AssertionError(f"no model was promoted\n{stack.logs()}")


def wait_until_back(stack: Stack, name: str, restarts: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if stack.process(name)["restarts"] > restarts and is_ready(stack, name):
            return
    raise AssertionError(f"{name} did not come back\n{stack.logs()}")


def is_ready(stack: Stack, name: str) -> bool:
    try:
        return httpx2.get(f"{stack.url(name)}/health/ready", timeout=1).status_code == 200
    except httpx2.HTTPError:
        return False


async def decoded(stack: Stack, topic: str, kind: type) -> list:
    name = kind.DESCRIPTOR.full_name
    return [
        kind.FromString(message.value)
        for message in await everything(stack.bootstrap, topic)
        if message.type == name
    ]


async def test_every_event_is_accepted_scored_and_joined_exactly_once(looped: Stack):
    accepted = Counter(
        event.event_id
        for event in await decoded(looped, "millrace.events", events_pb2.EventAccepted)
    )
    answers = await decoded(looped, "millrace.predictions", predictions_pb2.PredictionMade)
    scored = Counter(answer.event_id for answer in answers)
    labelled = Counter(
        label.event_id
        for label in await decoded(looped, "millrace.labels", labels_pb2.LabelObserved)
    )
    everyone = Counter(f"p{number}" for number in range(ROWS))
    assert accepted == everyone
    assert scored == everyone
    assert labelled == everyone

    with_a_value = Counter(
        str(answer.model_version) for answer in answers if answer.HasField("value")
    )
    assert (
        sum(with_a_value.values()) >= ROWS - 12
    )  # the fallback is a mean of labels: the first events have none

    async def joined() -> dict[str, int]:
        async with httpx2.AsyncClient() as client:
            answer = await client.get(f"{looped.url('monitoring')}/v1/pipelines/pumps/status")
        return {
            version: measured["events"] for version, measured in answer.json()["versions"].items()
        }

    async def all_joined() -> bool:
        return await joined() == with_a_value

    try:
        await eventually(all_joined, within=30)
    except AssertionError:
        assert await joined() == with_a_value


async def test_a_drift_led_to_a_promotion_and_the_error_came_down(looped: Stack):
    found = await decoded(looped, "millrace.drift", drift_pb2.DriftDetected)
    assert found, looped.logs()
    assert all(drift.statistic > drift.threshold or drift.method == "adwin" for drift in found)
    drifts = {message.id for message in await everything(looped.bootstrap, "millrace.drift")}
    promoted = await decoded(looped, "millrace.models", models_pb2.ModelPromoted)
    assert [event.epoch for event in promoted] == list(range(1, len(promoted) + 1))
    assert promoted[0].trigger == "first"
    by_drift = [event for event in promoted if event.trigger == "drift"]
    assert by_drift
    assert all(event.cause_id in drifts for event in by_drift)
    runs = [
        run.run_id
        for run in await decoded(looped, "millrace.training", training_pb2.TrainingCompleted)
    ]
    assert len(runs) == len(set(runs))
    errors = await absolute_errors(looped)
    just_after, at_the_end = errors[DRIFT_AT : DRIFT_AT + 100], errors[-200:]
    assert np.mean(at_the_end) < 0.5 * np.mean(just_after)


async def absolute_errors(stack: Stack) -> list[float]:
    truth = {
        label.event_id: label.number
        for label in await decoded(stack, "millrace.labels", labels_pb2.LabelObserved)
    }
    answers = {
        answer.event_id: answer.value
        for answer in await decoded(stack, "millrace.predictions", predictions_pb2.PredictionMade)
        if answer.model_version
    }
    return [
        abs(answers[f"p{n}"] - truth[f"p{n}"]) if f"p{n}" in answers else float("nan")
        for n in range(ROWS)
    ]


async def test_one_trace_tells_the_loop_across_the_services(looped: Stack):
    async def whole() -> str | None:
        for message in await everything(looped.bootstrap, "millrace.deployments"):
            trace = message.headers.get("traceparent", b"--").decode().split("-")[1]
            async with httpx2.AsyncClient() as client:
                answer = await client.get(f"{looped.url('zipkin')}/api/v2/trace/{trace}")
            if answer.status_code != 200:
                continue
            spans = answer.json()
            services = {span["localEndpoint"]["serviceName"] for span in spans}
            names = {span["name"].lower() for span in spans}
            story = (
                "driftdetected",
                "retrainrequested",
                "trainingcompleted",
                "modelpromoted",
                "modeldeployed",
            )
            if {"monitoring", "training", "registry", "serving"} <= services and all(
                f"send {event}" in names for event in story
            ):
                return trace
        return None

    assert await eventually(whole, within=30, what="a trace from DriftDetected to ModelDeployed")


async def test_the_new_model_answers_over_http_with_its_version(looped: Stack):
    promoted = await decoded(looped, "millrace.models", models_pb2.ModelPromoted)
    columns = {
        "load": 1.0,
        "heat": 0.5,
        "load_change": 0.1,
        "heat_mean_1h": 0.0,
        "wear_mean_6h": 15.0,
    }
    inputs = [
        {"name": name, "shape": [1], "datatype": "FP64", "data": [value]}
        for name, value in columns.items()
    ]
    inputs.append({"name": "site", "shape": [1], "datatype": "BYTES", "data": ["a"]})
    async with httpx2.AsyncClient() as client:
        answer = await client.post(
            f"{looped.url('serving')}/v2/models/pumps/infer", json={"id": "ask-1", "inputs": inputs}
        )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["id"], body["model_name"]) == ("ask-1", "pumps")
    assert body["model_version"] == str(promoted[-1].version)
    assert body["outputs"][0]["data"][0] == pytest.approx(20 - 4 * 1.0 + 2 * 0.5, abs=3)


async def test_the_champion_is_made_again_to_the_bit_and_has_a_price_and_a_card(
    looped: Stack, tmp_path: Path
):
    async def says(*arguments: object) -> str:
        return (await asyncio.to_thread(looped.millrace, *arguments)).stdout

    promoted = await decoded(looped, "millrace.models", models_pb2.ModelPromoted)
    version, digest = promoted[-1].version, promoted[-1].artifact_sha256
    again = json.loads(await says("reproduce", "pumps", version, "-o", "json"))
    assert again["equal"], again
    assert again["found_sha256"] == digest
    assert again["environment"] == []

    runs = await decoded(looped, "millrace.training", training_pb2.TrainingCompleted)
    [costs] = json.loads(await says("get", "costs", "pumps", "-o", "json"))
    assert (costs["runs"] >= len(runs), costs["promotions"]) == (True, len(promoted))
    assert costs["cpu_seconds"] >= sum(run.cpu_seconds for run in runs) - 0.01 > 0
    assert costs["cpu_seconds_per_promotion"] == pytest.approx(costs["cpu_seconds"] / len(promoted))
    assert costs["peak_memory_bytes"] >= max(run.peak_memory_bytes for run in runs) > 1 << 20

    address = f"{looped.url('registry')}/v1/models/pumps/versions/{version}/card"
    async with httpx2.AsyncClient() as client:  # a card follows its candidate

        async def there() -> bool:
            return (await client.get(address)).status_code == 200

        await eventually(there, within=90, what=f"the card of version {version}")
    page = tmp_path / "card.html"
    await says("get", "card", "pumps", version, "--save", page)
    for card in (await says("get", "card", "pumps"), page.read_text()):
        assert digest in card.replace("\n", "")
        assert "How good it is" in card
        assert "load" in card
    assert "<svg" in page.read_text()


POISON = {
    "not JSON": (b"{not json", "not JSON"),
    "wrong type": (
        b'{"id": "x1", "at": "2026-01-03T00:00:00Z", "pump": "pump-0", "load": "much", "heat": 1, "site": "a"}',
        "load",
    ),
    "missing field": (
        b'{"id": "x2", "at": "2026-01-03T00:00:00Z", "pump": "pump-0", "heat": 1, "site": "a"}',
        "load",
    ),
    "NaN": (
        b'{"id": "x3", "at": "2026-01-03T00:00:00Z", "pump": "pump-0", "load": NaN, "heat": 1, "site": "a"}',
        "",
    ),
    "future": (
        b'{"id": "x4", "at": "2126-01-03T00:00:00Z", "pump": "pump-0", "load": 1, "heat": 1, "site": "a"}',
        "at",
    ),
    "10 MB": (b'{"id": "' + b"x" * 10_000_000 + b'"}', "bytes"),
}


async def test_bad_input_on_the_topic_becomes_a_dead_letter_with_its_reason_and_the_stream_goes_on(
    looped: Stack,
):
    broker = KafkaBroker(KafkaSettings(looped.bootstrap))
    producer = broker.producer()
    await producer.start()
    try:
        for value, _ in POISON.values():
            await producer.send(
                "millrace.raw.pumps", 0, [Outgoing("millrace.raw.pumps", b"pump-0", value, [])]
            )
        good = {
            "id": "good-1",
            "at": "2026-01-03T02:00:00Z",
            "pump": "pump-0",
            "load": 1,
            "heat": 1,
            "site": "a",
        }
        await producer.send(
            "millrace.raw.pumps",
            0,
            [Outgoing("millrace.raw.pumps", b"pump-0", json.dumps(good).encode(), [])],
        )
    finally:
        await producer.stop()

    async def letters() -> list[Message]:
        found = await everything(looped.bootstrap, "millrace.raw.pumps.dlq")
        return found if len(found) >= len(POISON) else []

    reasons = {
        m.value: m.headers["kafka_dlt-exception-message"].decode()
        for m in await eventually(letters, within=30)
    }
    for name, (value, word) in POISON.items():
        assert word.lower() in reasons[value].lower(), f"{name}: {reasons[value]}"

    async def scored() -> bool:
        answers = await decoded(looped, "millrace.predictions", predictions_pb2.PredictionMade)
        return any(answer.event_id == "good-1" for answer in answers)

    await eventually(scored, within=30)


async def test_bad_input_over_http_is_refused_in_words(looped: Stack):
    url = f"{looped.url('ingestion')}/v1/pipelines"
    json_type = {"content-type": "application/json"}
    async with httpx2.AsyncClient(timeout=30) as client:
        for name, (value, word) in POISON.items():
            answer = await client.post(f"{url}/pumps/events", content=value, headers=json_type)
            assert answer.status_code in (400, 413, 422), (
                f"{name}: {answer.status_code} {answer.text[:200]}"
            )
            assert word.lower() in answer.text.lower() or answer.status_code == 413, (
                f"{name}: {answer.text[:300]}"
            )
        unknown = await client.post(f"{url}/nothing/events", content=b"{}", headers=json_type)
        assert unknown.status_code == 404
        assert "pumps" in unknown.text
