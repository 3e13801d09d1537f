"""The demo's story: what is told, and what history waits for."""

import asyncio
from typing import Any

import pytest

from millrace.demo.flow import Flow
from millrace.demo.story import WEEK_OF_HOURS, Errors, Story
from millrace.feed import Happening
from millrace.replay.pace import Sent
from millrace_kernel.time import SECOND, Instant

DRIFT = {
    "kind": "DRIFT_KIND_DATA",
    "subject": "temp",
    "method": "psi",
    "statistic": 0.91,
    "threshold": 0.2,
    "also": {"hum": 0.3},
    "reference_mean": 0.27,
    "window_mean": 0.68,
    "window_events": 336,
    "model_version": 1,
}


def happening(type: str, at: float = 0.0, *, id: str = "x", **fields: Any) -> Happening:  # noqa: A002
    appended, recorded = Instant(round(at * SECOND)), Instant(1_300_000_000 * SECOND)
    return Happening(
        type, {"pipeline": "bikes"} | fields, "t", 0, 0, appended, recorded, id, "s", None, None, None
    )  # fmt: skip


def promoted(version: int, previous: int, cause: str = "") -> Happening:
    return happening(
        "ModelPromoted", version=version, previous_version=previous, epoch=version, run_id="r",
        cause_id=cause,
    )  # fmt: skip


def deployed(version: int, at: float = 0.0) -> Happening:
    return happening("ModelDeployed", at, version=version, epoch=version, instance="serving-0")


def answer(event: int, version: int, value: float) -> Happening:
    role = "PREDICTION_ROLE_CHAMPION" if version else "PREDICTION_ROLE_FALLBACK"
    return happening(
        "PredictionMade", event_id=str(event), role=role, model_version=version, value=value
    )


def label(event: int, value: float) -> Happening:
    return happening("LabelObserved", event_id=str(event), number=value)


def told(story: Story, *happenings: Happening) -> list[str]:
    return [line.partition("  ")[2] for line in story.hear(happenings)]


def test_a_drift_is_told_with_its_evidence() -> None:
    assert told(Story("bikes"), happening("DriftDetected", **DRIFT)) == [
        "drift     data drift in temp: psi 0.91 against 0.2, also hum; mean 0.27 -> 0.68 (version 1 answering)"
    ]


def test_other_pipelines_are_not_told_of() -> None:
    assert told(Story("fraud"), happening("DriftDetected", **DRIFT)) == []


def test_a_deployment_says_how_long_after_its_drift_it_came() -> None:
    lines = told(
        Story("bikes"),
        happening("DriftDetected", 10.0, id="d1", **DRIFT),
        promoted(2, 1, cause="d1"),
        deployed(2, 12.5),
    )
    assert lines[-1] == "deployed  version 2 answers on serving-0, 2.5 s after the drift"


def test_the_error_before_and_after_is_told_after_a_week() -> None:
    story = Story("bikes")
    assert told(story, promoted(2, 1), deployed(2)) != []
    old = [m for i in range(200) for m in (answer(i, 1, 10.0), label(i, 30.0))]
    new = [m for i in range(200, 400) for m in (label(i, 30.0), answer(i, 2, 25.0))]
    lines = told(story, *old, *new)
    assert lines == ["error     mae 20 -> 5: the last week of version 1, the first of version 2"]


def test_an_answer_that_comes_again_counts_once() -> None:
    story = Story("bikes")
    told(story, answer(1, 0, 1.0), answer(1, 0, 1.0), label(1, 2.0))
    assert story.scored == {"1"}
    assert (story.labels, story.errors.joined) == (1, 1)


def test_errors_join_whatever_comes_first() -> None:
    errors = Errors()
    for event in range(WEEK_OF_HOURS - 1):
        assert errors.answered(str(event), 3, 1.0) is None
        assert errors.labelled(str(event), 2.0) is None
    assert errors.labelled("last", 2.0) is None
    assert errors.answered("last", 3, 1.0) == 3


def test_the_loop_decides_from_the_request_until_the_deployment() -> None:
    story = Story("bikes")
    requested = happening("RetrainRequested", run_id="r", run_number=1, trigger="drift")
    assert not story.deciding
    told(story, requested)
    assert story.deciding
    told(story, promoted(2, 1))
    assert story.deciding
    told(story, deployed(2))
    assert not story.deciding


@pytest.mark.parametrize("end", ["TrainingFailed", "ModelRejected"])
def test_a_run_without_a_new_champion_ends_the_decision(end: str) -> None:
    story = Story("bikes")
    told(story, happening("RetrainRequested", run_id="r", run_number=1, trigger="drift"))
    told(story, happening(end, run_id="r", version=2, reason="no better"))
    assert not story.deciding


async def test_history_waits_for_what_is_not_scored_yet() -> None:
    story = Story("bikes")
    flow = Flow(story, most_unscored=2)
    waiting = asyncio.ensure_future(flow.wait(Sent(3, 3)))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    told(story, answer(1, 0, 1.0))
    flow.heard()
    await asyncio.wait_for(waiting, 1)


async def test_history_waits_for_a_run_but_not_for_ever() -> None:
    story = Story("bikes")
    told(story, happening("RetrainRequested", run_id="r", run_number=1, trigger="drift"))
    flow = Flow(story, longest_run_seconds=0.05)
    waiting = asyncio.ensure_future(flow.wait(Sent()))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await asyncio.sleep(0.06)
    flow.heard()
    await asyncio.wait_for(waiting, 1)
