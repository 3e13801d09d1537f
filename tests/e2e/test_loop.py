"""The loop closes on a stream with a known drift, while every service is killed once with kill -9."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import httpx2
import numpy as np
import pytest
from tests.e2e.pumps import (
    ROWS,
    TURNS_AT,
    answers_by_version,
    decoded,
    joined_by_version,
    live_through,
)

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

SERVICES = ("ingestion", "features", "serving", "training", "registry", "monitoring")


@pytest.fixture(scope="module")
def looped(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The stack after the whole story."""
    live_through(stack, tmp_path_factory.mktemp("pumps"), iter(SERVICES))
    return stack


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

    with_a_value = await answers_by_version(looped)
    # the fallback is a mean of labels: the first events have none
    assert with_a_value.total() >= ROWS - 12
    assert await joined_by_version(looped) == with_a_value


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
    just_after, at_the_end = errors[TURNS_AT : TURNS_AT + 100], errors[-200:]
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
