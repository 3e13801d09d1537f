"""Challengers on the real stack: a better one goes all the way, bad ones fall back by themselves, a shadow touches nothing.

Each story has a pipeline of its own: `wear` follows `load`, the first champion learns that, and what challenges it is
trained for real (the better one) or made to err (the bad ones). Registry and monitoring run on SQLite, and on PostgreSQL
where a story is of the way through their databases.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from tests.challengers.candidates import for_single_rows, line
from tests.e2e.story import ENTITIES, FIRST, NOBODY, SECONDS, Story, is_for_users, pump

from millrace_contracts.message import Message
from millrace_proto.v1 import deployments_pb2, drift_pb2, models_pb2
from millrace_proto.v1.drift_pb2 import ChallengerVerdict
from millrace_proto.v1.predictions_pb2 import PredictionMade
from millrace_serving.domain.canary import part_of
from millrace_testkit.eventually import eventually
from millrace_testkit.stack import Stack, own_stack

pytestmark = [pytest.mark.e2e, pytest.mark.broker, pytest.mark.db, pytest.mark.timeout(900)]

measured = logging.getLogger("measured")

CANARY = "{strategy: canary, min_labels: 20, limits: {latency: 1h}}"
HALF = "{strategy: canary, min_labels: 20, steps: [50, 100], limits: {latency: 1h}}"
SHADOW = "{strategy: shadow, min_labels: 50, shadow_from: 7d, limits: {latency: 1h}}"
ON_BOTH = pytest.mark.parametrize("stack", ["sqlite", "postgres"], indirect=True)
ON_SQLITE = pytest.mark.parametrize("stack", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    settings = {"OTEL_TRACES_SAMPLER_ARG": "0"}
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        for service in ("REGISTRY", "MONITORING"):
            settings[f"{service}_DATABASE_URL"] = server.create_database()
    with own_stack(tmp_path_factory.mktemp("stack"), settings) as stack:
        yield stack


def answers_of(found: Sequence[tuple[Message, PredictionMade]]) -> dict[str, PredictionMade]:
    """By event; every event has exactly one."""
    answers: dict[str, PredictionMade] = {}
    for _, one in found:
        if is_for_users(one):
            assert one.event_id not in answers, f"{one.event_id} was answered twice"
            answers[one.event_id] = one
    return answers


@pytest.fixture
async def story(stack: Stack) -> AsyncIterator[Story]:
    told = Story(stack)
    yield told
    await told.http.aclose()


@ON_BOTH
async def test_a_better_candidate_steps_up_and_becomes_the_champion(story: Story):
    await story.begin("rising", CANARY)
    story.slope = -4.0  # the world turns round
    await story.send(180)
    async with story.streaming() as asked:
        await asyncio.to_thread(
            story.stack.millrace, "retrain", story.name, "--reason", "the world has turned"
        )
        await story.until(2, "champion")
        await eventually(lambda: story.answering("2"), within=SECONDS)
    answers = answers_of(await story.predictions())
    models = await story.heard("millrace.models", models_pb2)
    drift = await story.heard("millrace.drift", drift_pb2)

    steps = [one for _, one in models if type(one).__name__ == "ChallengerStarted"]
    assert [(one.version, one.step, one.traffic_share) for one in steps] == [
        (2, 0, 0.01),
        (2, 1, 0.05),
        (2, 2, 0.25),
    ]
    promoted = models[-1][1]
    assert (promoted.version, promoted.epoch, promoted.previous_version) == (2, 2, 1)
    proofs = {message.id for message, one in drift if is_verdict(one, "BETTER")}
    forward = [
        message.headers["ce_causationid"].decode()
        for message, one in models
        if (type(one).__name__, getattr(one, "step", 0)) != ("ChallengerStarted", 0)
    ][-3:]
    assert set(forward) <= proofs
    assert len(set(forward)) == 3

    in_order = [answers[f"{story.name}-{number}"] for number in range(story.sent)]
    assert {one.model_version for one in in_order[FIRST:]} == {1, 2}
    last = defaultdict(int)
    for one in in_order:
        assert one.model_version >= last[one.entity], "an entity came back from its side"
        last[one.entity] = one.model_version
        if one.model_version == 2 and one.epoch == 1:
            assert part_of(story.name, 2, one.entity) < 2_500
    assert {version for _, version in asked} <= {"1", "2"}
    assert asked[0][1] == "1"


def is_verdict(one: Any, name: str) -> bool:
    wanted = ChallengerVerdict.Value(f"CHALLENGER_VERDICT_{name}")
    return type(one).__name__ == "ChallengerCompared" and one.verdict == wanted


@ON_BOTH
@pytest.mark.parametrize(
    ("bias", "verdict"), [(60.0, "WORSE"), (float("nan"), "FAILING")], ids=["worse", "silent"]
)
async def test_a_bad_canary_falls_back_by_itself(story: Story, bias: float, verdict: str):
    await story.begin(f"falling-{verdict.lower()}", HALF)
    async with story.streaming():
        await story.challenge(line(4.0, bias))
        await story.until(2, "rejected")
        await all_are_the_champions(story)
    found = await story.predictions()
    answers = answers_of(found)
    models = await story.heard("millrace.models", models_pb2)
    drift = await story.heard("millrace.drift", drift_pb2)

    breach, told = next((message, one) for message, one in drift if is_verdict(one, verdict))
    rejection, rejected = models[-1]
    assert (type(rejected).__name__, rejected.version) == ("ModelRejected", 2)
    assert rejection.headers["ce_causationid"] == breach.id_bytes
    mine = [message for message, one in found if is_for_users(one) and one.model_version == 2]
    assert mine, "it answered nobody before"
    last = max(message.record.timestamp for message in mine)
    measured.warning(
        "%s: from the breach (comparison %d labels) to its rejection %.0f ms, to its last answer %.0f ms",
        story.name,
        told.events,
        rejection.record.timestamp - breach.record.timestamp,
        max(0, last - breach.record.timestamp),
    )
    assert len(answers) == story.sent
    for event, one in answers.items():
        if one.model_version == 2:
            assert part_of(story.name, 2, one.entity) < 5_000, event


async def all_are_the_champions(story: Story) -> None:
    """Every entity's requests, and then they stay so."""
    entities = [pump(number) for number in range(0, ENTITIES, 7)]

    async def versions() -> bool:
        return {await story.ask(entity) for entity in entities} == {"1"}

    await eventually(versions, within=SECONDS, what="answers of the champion alone")
    assert await versions()


@ON_SQLITE
async def test_a_canary_that_raises_costs_no_answer(story: Story):
    await story.begin("raising", HALF)
    async with story.streaming():
        await story.challenge(for_single_rows(4.0))
        await story.until(2, "rejected")
        await all_are_the_champions(story)
    answers = answers_of(await story.predictions())
    deployments = await story.heard("millrace.deployments", deployments_pb2)
    models = await story.heard("millrace.models", models_pb2)

    [(failure, failed)] = [
        (message, one) for message, one in deployments if type(one).__name__ == "DeploymentFailed"
    ]
    assert (failed.version, failed.trial) == (2, 1)
    rejection, rejected = models[-1]
    assert (type(rejected).__name__, rejected.version) == ("ModelRejected", 2)
    assert rejection.headers["ce_causationid"] == failure.id_bytes
    assert len(answers) == story.sent
    after = [answers[f"{story.name}-{number}"] for number in range(FIRST, story.sent)]
    assert all(one.HasField("value") for one in after)
    assert after[-1].model_version == 1


@ON_SQLITE
async def test_a_shadow_from_the_past_is_proven_by_late_labels_alone(story: Story):
    """Events from before it began, whose truth comes after: it scores them, and answers none."""
    await story.begin("shadowed", SHADOW)
    story.slope = -4.0
    labels = await story.send(150, is_labelled=False)
    before = answers_of(await story.predictions())
    await story.challenge(line(-4.0, 20.0))
    await story.until(2, "challenger")

    async def shadowed() -> bool:
        found = [one for _, one in await story.predictions() if one.role == NOBODY]
        return len(found) >= 2 * (
            FIRST + 150
        )  # both versions: which champion answered then is another matter

    await eventually(shadowed, within=SECONDS, what="both versions' answers to the past")
    assert {await story.ask(pump(number)) for number in range(20)} == {"1"}
    await story.post("labels", labels)
    await story.until(2, "champion")
    found = await story.predictions()
    models = await story.heard("millrace.models", models_pb2)

    assert answers_of(found) == before
    assert {one.model_version for one in before.values()} == {0, 1}
    [started] = [one for _, one in models if type(one).__name__ == "ChallengerStarted"]
    assert started.traffic_share == 0
    assert started.started_us - started.since_us == 7 * 24 * 3_600_000_000
    compared = [one for _, one in found if one.role == NOBODY]
    assert {one.model_version for one in compared} == {1, 2}
    pairs = [(one.event_id, one.model_version) for one in compared]
    assert len(pairs) == len(set(pairs))
