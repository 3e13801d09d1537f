"""Challengers beside the champion: shadows, canaries, their ends, and what a restart makes of them."""

import asyncio
import logging
import time
from dataclasses import replace

import numpy as np
import pytest

from millrace_kernel.errors import TransientError
from millrace_kernel.time import Instant
from millrace_proto.v1.deployments_pb2 import DeploymentFailed
from millrace_proto.v1.predictions_pb2 import PredictionRole
from millrace_serving.domain.answers import Scores
from millrace_serving.domain.canary import part_of
from millrace_serving.entrypoints import shadows
from millrace_testkit.eventually import eventually

NOON = Instant(1_764_000_000_000_000)  # when the bed's messages were recorded
STEP = 10_000.0  # a version's answers begin at its number times this
CHAMPION = PredictionRole.PREDICTION_ROLE_CHAMPION
CHALLENGER = PredictionRole.PREDICTION_ROLE_CHALLENGER


def by_role(predictions, role):
    return {one.event_id: one for one in predictions if one.role == role}


def station(number: int) -> str:
    """As the bed names an event's entity."""
    return f"station-{number % 4}"


def taken(bed, version: int, share: float, numbers) -> set[str]:
    parts = {n: part_of(bed.pipeline.name, version, station(n)) for n in numbers}
    return {f"e{n}" for n, part in parts.items() if part < share * 10_000}


def half(bed, version: int = 2) -> float:
    """A share that takes two of the four stations."""
    parts = sorted(part_of(bed.pipeline.name, version, station(n)) for n in range(4))
    return (parts[1] + 1) / 10_000


async def running_trial(parts, bed, number=1, step=0):
    def is_there():
        running = parts.routing.running(bed.pipeline.name)
        return running and running.deployment and (running.trial.number, running.trial.step) == (
            number, step,
        )  # fmt: skip

    await eventually(is_there, what=f"trial {number}, step {step}")


async def test_a_shadow_scores_the_same_vectors_and_answers_nobody(bed):
    await bed.promote(1, 1)
    await bed.challenge(2)
    async with bed.serving():
        await bed.vectors(range(20))
        found = await bed.answered(40)

    answers, compared = by_role(found, CHAMPION), by_role(found, CHALLENGER)
    assert len(answers) == len(compared) == 20
    assert {one.model_version for one in answers.values()} == {1}
    assert {one.model_version for one in compared.values()} == {2}
    for event_id, answer in answers.items():
        other = compared[event_id]
        assert (answer.value // STEP, other.value // STEP) == (1, 2)
        assert list(answer.categories) == list(other.categories)
        assert (answer.epoch, answer.trial) == (other.epoch, other.trial) == (1, 1)
        assert answer.seconds > 0
        assert other.seconds > 0


async def test_without_a_trial_nothing_is_said_of_one(bed):
    await bed.promote(1, 1)
    async with bed.serving():
        await bed.vectors(range(4))
        found = await bed.answered(4)

    assert {(one.trial, one.seconds) for one in found} == {(0, 0.0)}


async def test_challengers_have_a_source_and_a_group_of_their_own(bed):
    await bed.promote(1, 1)
    await bed.challenge(2)
    async with bed.serving():
        await bed.vectors(range(8))
        await bed.answered(16)

    sources = {
        (message.source.rpartition("/")[0], message.headers["ce_id"] != b"")
        for message in bed.effective("millrace.predictions")
    }
    assert sources == {
        ("millrace/serving/millrace.features", True),
        ("millrace/serving-challengers/bikes/1/millrace.features", True),
    }
    assert "millrace-serving-challengers/bikes/1" in bed.broker.groups


async def test_a_shadow_begins_in_the_past_and_both_versions_say_what_they_had_said(bed):
    """Whichever champion answered then, it is this one that is compared."""
    await bed.promote(1, 1)
    async with bed.serving():
        await bed.vectors(range(8))
        await bed.answered(8)
        await bed.promote(3, 2)
        await bed.challenge(2, epoch=2, champion=3, since=NOON, started=NOON + 1)
        found = await bed.answered(24)

    compared = [one for one in found if one.role == CHALLENGER]
    assert sorted({one.model_version for one in compared}) == [2, 3]
    assert len({(one.event_id, one.model_version) for one in compared}) == 16


async def test_vectors_from_before_it_begins_are_not_scored(bed):
    await bed.promote(1, 1)
    await bed.challenge(2, since=NOON + 1)
    async with bed.serving() as parts:
        await running_trial(parts, bed)
        await bed.vectors(range(8))
        await bed.answered(8)
        place = "millrace-serving-challengers/bikes/1"
        await eventually(lambda: sum(bed.broker.group_offsets(place).values()) > 0)
        await asyncio.sleep(0.1)  # it has read some, and reads the rest now
        await bed.answered(8)


async def test_a_canary_answers_its_share_and_the_other_side_is_scored_for_comparison(bed):
    await bed.promote(1, 1)
    share = half(bed)
    await bed.challenge(2, share=share)
    async with bed.serving():
        await bed.vectors(range(20))
        found = await bed.answered(40)

    answers, compared = by_role(found, CHAMPION), by_role(found, CHALLENGER)
    mine = taken(bed, 2, share, range(20))
    assert len(mine) == 10
    for number in range(20):
        event = f"e{number}"
        versions = answers[event].model_version, compared[event].model_version
        assert versions == ((2, 1) if event in mine else (1, 2))
        assert answers[event].value // STEP == versions[0]
        assert compared[event].value // STEP == versions[1]
        assert (answers[event].epoch, answers[event].trial) == (1, 1)


async def test_an_entity_stays_on_its_side_while_the_share_grows(bed):
    await bed.promote(1, 1)
    await bed.challenge(2, share=half(bed))
    async with bed.serving() as parts:
        await bed.vectors(range(20))
        first = by_role(await bed.answered(40), CHAMPION)
        await bed.challenge(2, share=1.0, step=1)
        await running_trial(parts, bed, step=1)
        await bed.vectors(range(20, 40))
        second = by_role(await bed.answered(80), CHAMPION)

    assert {one.model_version for name, one in second.items() if name not in first} == {2}
    assert {one.model_version for one in first.values()} == {1, 2}


async def test_a_rejected_canary_answers_nobody_from_then_on(bed):
    """From the breach to the last answer: what is said after the rejection was heard is the champion's, to the last one."""
    await bed.promote(1, 1)
    await bed.challenge(2, share=1.0)
    async with bed.serving() as parts:
        await bed.vectors(range(8))
        await bed.answered(16)
        began = time.perf_counter()
        await bed.reject(2)
        await eventually(lambda: parts.routing.all() == [])
        took = time.perf_counter() - began
        await bed.vectors(range(8, 16))
        found = await bed.answered(24)
        await eventually(
            lambda: not list((parts.settings.state_directory / "challengers").glob("*"))
        )

    logging.getLogger("measured").warning(
        "from a rejection on the topic to the champion's answering everybody: %.1f ms", took * 1_000
    )
    after = [one for one in found if int(one.event_id[1:]) >= 8]
    assert {(one.role, one.model_version, one.trial) for one in after} == {(CHAMPION, 1, 0)}


class Broken:
    """A model that answers a few rows, then never again; or `twice`."""

    def __init__(self, model, *, twice=False):
        self._model = model
        self.is_broken = False
        self._twice = twice

    def __getattr__(self, name):
        return getattr(self._model, name)

    def score(self, rows):
        scores = self._model.score(rows)
        if not self.is_broken:
            return scores
        if self._twice:
            return Scores(np.concatenate([scores.values, scores.values]))
        raise RuntimeError("the library has lost its mind")


async def broken_canary(parts, bed, **how):
    """Puts a model that can break in the challenger's place."""
    await running_trial(parts, bed)
    running = parts.routing.running(bed.pipeline.name)
    model = Broken(running.deployment.model, **how)
    parts.routing.deploy(running.trial, replace(running.deployment, model=model))
    return model


async def test_a_canary_that_breaks_costs_no_answer_and_answers_nobody_any_more(bed):
    """Serving needs nobody's word for it: the batch in which it broke is answered by the champion already."""
    await bed.promote(1, 1)
    await bed.challenge(2, share=1.0)
    async with bed.serving() as parts:
        model = await broken_canary(parts, bed)
        await bed.vectors(range(4))
        before = await bed.answered(8)
        model.is_broken = True
        await bed.vectors(range(4, 12))
        await bed.deployed(2)
        await eventually(lambda: len(by_role(bed.predictions(), CHAMPION)) == 12)
        found = by_role(bed.predictions(), CHAMPION)

    assert {by_role(before, CHAMPION)[f"e{n}"].model_version for n in range(4)} == {2}
    assert {found[f"e{n}"].model_version for n in range(4, 12)} == {1}
    failures = [one for one in bed.deployments() if isinstance(one, DeploymentFailed)]
    [failure] = failures
    assert (failure.version, failure.epoch, failure.trial) == (2, 1, 1)
    assert "the library has lost its mind" in failure.reason


async def test_a_challenger_that_cannot_be_loaded_is_told_and_touches_no_answer(bed):
    await bed.promote(1, 1)
    stored = replace(bed.stored(2), sha256="0" * 64)
    await bed.challenge(2, share=1.0, stored=stored)
    async with bed.serving():
        await bed.vectors(range(4))
        found = await bed.answered(4)
        failure = next(one for one in await bed.deployed(2) if isinstance(one, DeploymentFailed))

    assert {one.model_version for one in found} == {1}
    assert (failure.version, failure.trial) == (2, 1)


async def test_a_challenger_that_cannot_be_fetched_yet_is_tried_again(bed, monkeypatch):
    monkeypatch.setattr(shadows, "RETRY_SECONDS", 0.01)
    await bed.promote(1, 1)
    await bed.challenge(2, share=1.0)
    parts = bed.instance()
    engine, tries = parts.challengers._engine, []

    class Away:
        def load(self, champion):
            tries.append(champion)
            if len(tries) < 3:
                raise TransientError("the object store is away")
            return engine.load(champion)

    parts.challengers._engine = Away()
    async with bed.serving(parts):
        await running_trial(parts, bed)
        await bed.vectors(range(4))
        found = by_role(await bed.answered(8), CHAMPION)

    assert len(tries) == 3
    assert {one.model_version for one in found.values()} == {2}


async def test_a_restart_goes_on_with_the_same_sides_and_says_nothing_twice(bed):
    await bed.promote(1, 1)
    await bed.challenge(2, share=half(bed))
    async with bed.serving():
        await bed.vectors(range(12))
        first = by_role(await bed.answered(24), CHAMPION)
    async with bed.serving():
        await bed.vectors(range(12, 24))
        found = await bed.answered(48)

    answers = by_role(found, CHAMPION)
    mine = taken(bed, 2, half(bed), range(24))
    assert {name for name, one in answers.items() if one.model_version == 2} == mine
    assert all(answers[name] == one for name, one in first.items())
    said = [(one.event_id, one.role) for one in found]
    assert len(said) == len(set(said))


@pytest.mark.parametrize("end", ["reject", "promote", "roll_back"])
async def test_a_trial_that_ended_while_nobody_was_there_does_not_begin_again(bed, end):
    await bed.promote(1, 1)
    await bed.challenge(2, share=1.0)
    async with bed.serving():
        await bed.vectors(range(4))
        await bed.answered(8)
    if end == "reject":
        await bed.reject(2)
    elif end == "promote":
        await bed.promote(2, 2)
    else:
        await bed.roll_back(3, 2, 1)
    async with bed.serving() as parts:
        await bed.vectors(range(4, 8))
        found = await bed.answered(12)
        left = list((parts.settings.state_directory / "challengers").glob("*"))

    version = {"reject": 1, "promote": 2, "roll_back": 3}[end]
    after = [one for one in found if int(one.event_id[1:]) >= 4]
    assert {(one.role, one.model_version, one.trial) for one in after} == {(CHAMPION, version, 0)}
    assert left == []


async def test_a_promoted_canary_answers_everybody_without_a_gap(bed):
    """Between the promotion's coming and the swap its entities stay with it."""
    await bed.promote(1, 1)
    await bed.challenge(2, share=half(bed))
    mine = taken(bed, 2, half(bed), range(4))
    async with bed.serving() as parts:
        await bed.vectors(range(4))
        await bed.answered(8)
        await bed.promote(2, 2)
        seen = []
        while not seen or seen[-1] < 2:
            current = parts.deployments.current(bed.pipeline.name).champion.epoch
            chosen = parts.routing.choose(bed.pipeline.name, station(int(min(mine)[1:])))
            seen.append(current)
            answers = chosen.champion.version if chosen else current
            assert answers == 2
            await asyncio.sleep(0)


def request(**more):
    """A single row, as it is nearly always written."""
    inputs = [
        {"name": "temp", "shape": [1], "datatype": "FP64", "data": [1.0]},
        {"name": "hum", "shape": [1], "datatype": "FP64", "data": [0.5]},
        {"name": "weather", "shape": [1], "datatype": "BYTES", "data": ["rain"]},
    ]
    return {"inputs": inputs, **more}


async def ask(client, body):
    response = await client.post("/v2/models/bikes/infer", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_requests_are_shared_out_by_their_entity_or_else_their_id(bed):
    await bed.promote(1, 1)
    share = half(bed)
    await bed.challenge(2, share=share)
    mine = {f"station-{name[1:]}" for name in taken(bed, 2, share, range(4))}
    async with bed.serving() as parts, bed.client(parts) as client:
        await running_trial(parts, bed)
        for number in range(4):
            version = "2" if station(number) in mine else "1"
            by_entity = await ask(client, request(parameters={"entity": station(number)}, id="x"))
            by_id = await ask(client, request(id=station(number)))
            assert (by_entity["model_version"], by_id["model_version"]) == (version, version)
            assert by_id["outputs"][0]["data"][0] // STEP == int(version)
        assert {(await ask(client, request()))["model_version"] for _ in range(8)} == {"1"}
        named = await client.post("/v2/models/bikes/versions/1/infer", json=request(id=min(mine)))
        assert named.json()["model_version"] == "1"


@pytest.mark.parametrize("twice", [False, True], ids=["raises", "answers twice"])
async def test_a_request_whose_challenger_breaks_is_answered_by_the_champion(bed, twice):
    await bed.promote(1, 1)
    await bed.challenge(2, share=1.0)
    async with bed.serving() as parts, bed.client(parts) as client:
        model = await broken_canary(parts, bed, twice=twice)
        before = await ask(client, request(id="a"))
        model.is_broken = True
        after = [await ask(client, request(id="a")) for _ in range(3)]
        deployments = await bed.deployed(2)

    assert before["model_version"] == "2"
    assert [one["model_version"] for one in after] == ["1"] * 3
    [failure] = [one for one in deployments if isinstance(one, DeploymentFailed)]
    assert (failure.version, failure.trial) == (2, 1)
