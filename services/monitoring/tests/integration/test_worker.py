"""Monitoring among its topics: what it hears, what it says, and that it says it once."""

import numpy as np
import pytest

from millrace_kernel.errors import TransientError
from millrace_kernel.ids import PipelineName
from millrace_proto.v1.drift_pb2 import DRIFT_KIND_CONCEPT, DRIFT_KIND_DATA
from millrace_proto.v1.labels_pb2 import LabelObserved
from millrace_proto.v1.predictions_pb2 import PredictionMade
from millrace_testkit.eventually import eventually

BIKES = PipelineName("bikes")


def monitor_of(parts):
    _, _, monitor = parts.overview.of(BIKES)
    return monitor


def kinds(messages):
    return [type(message).__name__ for message in messages]


def identities(world):
    """What readers tell the messages by."""
    headers = [dict(record.headers) for record in world.broker.records("millrace.drift")]
    return {(one["ce_id"], one["ce_source"], one["ce_sequence"]) for one in headers}


def tell(world, count=1000):
    """A stream whose temperatures and errors change in its second half; what comes first and what later is mixed."""
    rng = np.random.default_rng(1)
    world.apply()
    world.promote()
    before = world.predict(rng, range(count // 2))
    world.label(rng, before)
    after = world.predict(rng, range(count // 2, count), mean=25.0)
    world.label(rng, after, error=30.0)


async def test_a_shift_is_said_once_with_its_evidence(world):
    tell(world)

    async with world.monitoring() as parts:
        await world.settled(parts)
        monitor = monitor_of(parts)

    drift = [message for message in world.heard() if hasattr(message, "kind")]
    data = [message for message in drift if message.kind == DRIFT_KIND_DATA]
    concept = [message for message in drift if message.kind == DRIFT_KIND_CONCEPT]
    assert kinds([*data, *concept]) == ["DriftDetected", "DriftDetected"]
    assert (data[0].subject, data[0].model_version, data[0].window_events) == ("temp", 1, 100)
    assert data[0].statistic > data[0].threshold >= 0.2
    assert (concept[0].subject, concept[0].method) == ("error", "adwin")
    assert concept[0].window_mean > 1.5 * concept[0].reference_mean
    degraded = [
        message for message in world.heard() if type(message).__name__ == "PerformanceDegraded"
    ]
    assert degraded[0].metric == "mae"
    assert monitor.overall.events == 1000


async def test_alerts_name_what_raised_them_and_every_message_its_cause(world):
    tell(world)

    async with world.monitoring() as parts:
        await world.settled(parts)

    alerts = world.heard("millrace.alerts")
    assert {alert.fingerprint for alert in alerts} == {
        "bikes/data/temp",
        "bikes/concept/error",
        "bikes/performance/mae",
    }
    assert kinds(alerts) == ["AlertRaised"] * 3
    assert {alert.cause_id for alert in alerts} <= set(world.ids())
    for record in world.broker.records("millrace.drift"):
        headers = dict(record.headers)
        assert headers["ce_correlationid"] == b"chain"
        assert headers["ce_causationid"]
        assert record.key == b"bikes"


async def test_processes_that_come_and_go_say_nothing_twice_and_lose_nothing(world):
    tell(world)
    said = sum(world.said.values())

    lives, handled = 0, 0
    while handled < said:
        async with world.monitoring(max_records=100) as parts:
            enough = min(handled + 400, said)
            await eventually(
                lambda parts=parts, enough=enough: world.handled(parts) >= enough, within=60
            )
            lives += 1
        handled = world.progress_of_the_dead()
    async with world.monitoring() as parts:
        await world.settled(parts)
        monitor = monitor_of(parts)

    assert lives >= 4
    assert monitor.overall.events == monitor.tallies[1].events == 1000
    assert len(identities(world)) == len(set(world.ids())) == len(world.ids())
    detected = [message for message in world.heard() if type(message).__name__ == "DriftDetected"]
    assert sorted(message.kind for message in detected) == [DRIFT_KIND_DATA, DRIFT_KIND_CONCEPT]
    assert len({alert.fingerprint for alert in world.heard("millrace.alerts")}) == 3
    assert len(world.heard("millrace.alerts")) == 3


async def test_a_lost_acknowledgement_repeats_a_message_under_its_id_and_sequence(world):
    lost = []

    def fault(errand, place):
        if errand == "acknowledge" and place.topic == "millrace.drift" and not lost:
            lost.append(place)
            raise TransientError("the answer is lost")

    world.broker.fault = fault
    tell(world)

    async with world.monitoring() as parts:
        await world.settled(parts)

    assert lost
    assert len(identities(world)) == len(set(world.ids())) < len(world.ids())


@pytest.mark.parametrize("world", [4], indirect=True)
async def test_two_processes_count_every_pair_once_between_them(world):
    tell(world)

    async with world.monitoring(max_records=50) as one, world.monitoring(max_records=50):
        await world.settled(one)
        monitor = monitor_of(one)

    assert monitor.overall.events == 1000
    assert monitor.heard == 2000
    # both relays may have published a message: then under one id and sequence, which readers drop
    assert len(identities(world)) == len(set(world.ids()))


async def test_predictions_wait_for_the_promotion_that_is_on_its_way(world):
    rng = np.random.default_rng(2)
    world.apply()
    world.label(rng, world.predict(rng, range(50)))

    async with world.monitoring() as parts:
        await eventually(lambda: parts.overview.of(BIKES), within=30)
        assert monitor_of(parts).tallies == {}
        world.promote()
        await world.settled(parts)
        monitor = monitor_of(parts)

    assert (monitor.overall.events, monitor.inputs.events) == (50, 50)
    assert world.heard("millrace.predictions.dlq") == []


async def test_a_promotion_resolves_the_alerts_and_begins_anew(world):
    tell(world)

    async with world.monitoring() as parts:
        await world.settled(parts)
        promotion = world.promote(epoch=2, mean=25.0)
        rng = np.random.default_rng(3)
        world.predict(rng, range(2000, 2500), mean=25.0, epoch=2)
        await world.settled(parts)
        monitor = monitor_of(parts)

    resolved = [alert for alert in world.heard("millrace.alerts") if not hasattr(alert, "summary")]
    assert {alert.cause_id for alert in resolved} == {promotion}
    assert len(resolved) == 3
    assert (monitor.epoch, dict(monitor.standing.alerts)) == (2, {})
    assert monitor.overall.events == 1000


async def test_what_can_never_be_handled_is_dead_lettered_and_the_rest_goes_on(world):
    rng = np.random.default_rng(4)
    world.apply()
    world.promote()
    prediction = {
        "pipeline": "bikes",
        "pipeline_version": 1,
        "model_version": 1,
        "epoch": 1,
        "role": 1,
    }
    world.say(
        PredictionMade(
            **prediction, event_id="a class", class_label="sun", numbers=(1, 1), categories=("sun",)
        )
    )
    world.say(PredictionMade(**prediction, event_id="too short", value=1.0, numbers=(1.0,)))
    world.say(
        PredictionMade(
            **prediction, event_id="x" * 1001, value=1.0, numbers=(1, 1), categories=("sun",)
        )
    )
    world.say(LabelObserved(pipeline="bikes", event_id="nothing"))
    world.label(rng, world.predict(rng, range(20)))

    async with world.monitoring() as parts:
        await world.settled(parts)
        monitor = monitor_of(parts)

    assert monitor.overall.events == 20
    dead = [
        *world.broker.records("millrace.predictions.dlq"),
        *world.broker.records("millrace.labels.dlq"),
    ]
    reasons = b" | ".join(b" ".join(dict(record.headers).values()) for record in dead).decode()
    assert len(dead) == 4
    for reason in (
        "which a regression label cannot be",
        "2 and 1",
        "1001 characters",
        "neither a number nor a text",
    ):
        assert reason in reasons
