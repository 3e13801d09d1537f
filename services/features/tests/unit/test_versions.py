"""Pipelines that change while their events flow."""

import math

import pytest

from millrace_features.domain.events import PipelineApplied
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import PipelineName

BIKES = PipelineName("bikes")
SUM_X = "{name: x_sum, agg: sum, of: x, window: 1m}"
SUM_Y = "{name: y_sum, agg: sum, of: y, window: 1m}"
HIRED = "{name: hired, agg: sum, of: label, window: 1m}"
BOTH = "x: float, y: float"


def test_a_new_version_starts_from_what_is_there(pipeline, heart_of):
    heart = heart_of(
        pipeline(SUM_X, "{name: x_ever, agg: last, of: x}", fields=BOTH),
        pipeline(SUM_X, SUM_Y, HIRED, "{name: x_ever, agg: last, of: x}", fields=BOTH, version=2),
    )
    heart.event("1", 0, 1.0, 10.0, version=1)

    vector = heart.event("2", 1, math.nan, 20.0, version=2)

    assert (vector["x_sum"], vector["y_sum"], vector["x_ever"]) == (1.0, 20.0, 1.0)
    assert math.isnan(vector["hired"])
    heart.label("1", 0, known_at=1, value=7.0, version=2)  # its id was not kept under version 1
    heart.label("2", 1, known_at=1, value=8.0, version=2)
    assert heart.event("3", 2, 3.0, 30.0, version=2)["hired"] == 8.0


def test_a_field_of_another_order_is_found_by_its_name(pipeline, heart_of):
    heart = heart_of(
        pipeline(SUM_X, SUM_Y, fields=BOTH),
        pipeline(SUM_Y, SUM_X, fields="y: float, x: float", version=2),
    )
    heart.event("1", 0, 1.0, 10.0, version=1)

    vector = heart.event("2", 1, 20.0, 2.0, version=2)

    assert (vector["x_sum"], vector["y_sum"]) == (3.0, 30.0)


def test_an_event_of_the_version_before_is_still_computed_by_it_and_remembered(pipeline, heart_of):
    heart = heart_of(pipeline(SUM_X, fields=BOTH), pipeline(SUM_Y, fields="y: float", version=2))
    heart.event("1", 0, 1.0, 10.0, version=1)
    heart.event("2", 1, 20.0, version=2)

    old = heart.event("3", 2, 4.0, 40.0, version=1)
    new = heart.event("4", 3, 80.0, version=2)

    assert old["x_sum"] == 4.0  # version 2 has forgotten the earlier values of x
    assert new["y_sum"] == 140.0
    assert heart.history().version == 2


def test_while_versions_are_mixed_the_newer_one_says_what_is_kept(pipeline, heart_of):
    heart = heart_of(
        pipeline("{name: x_sum, agg: sum, of: x, window: 5s}"), pipeline(SUM_X, version=2)
    )
    heart.event("1", 0, 1.0, version=2)
    heart.event("2", 30, 2.0, version=1)

    assert heart.event("3", 31, 4.0, version=2)["x_sum"] == 7.0


def test_a_version_that_needs_less_forgets_the_rest(pipeline, heart_of):
    heart = heart_of(pipeline(SUM_X, SUM_Y, HIRED, fields=BOTH), pipeline(SUM_X, version=2))
    for second in range(10):
        heart.event(str(second), second, 1.0, 10.0, version=1)

    heart.event("last", 10, 1.0, version=2)

    history = heart.history()
    assert list(history.fields) == ["x"]
    assert history.labels is None


def test_a_version_not_heard_of_yet_is_waited_for(heart):
    bikes = heart(SUM_X)

    with pytest.raises(TransientError, match="version 2 of pipeline bikes has not been heard of"):
        bikes.event("1", 0, 1.0, version=2)


def test_events_of_an_ended_pipeline_are_computed_while_its_versions_are_known(heart):
    bikes = heart(SUM_X)

    bikes.plans.end(BIKES)

    assert bikes.event("1", 0, 1.0)["x_sum"] == 1.0


def test_events_of_an_ended_pipeline_whose_versions_are_gone_are_ignored(heart, pipeline):
    bikes = heart(SUM_X)
    bikes.plans.end(BIKES)

    with pytest.raises(ValueError, match="not enough values"):  # there is no vector
        bikes.event("1", 0, 1.0, version=2)
    bikes.label("1", 0, known_at=1, value=1.0, version=2)
    assert not bikes.remembered.histories

    bikes.plans.apply(PipelineApplied(BIKES, (pipeline(SUM_X, version=3),)))
    with pytest.raises(TransientError):
        bikes.event("1", 0, 1.0, version=2)


def test_history_told_twice_changes_nothing(heart, pipeline):
    bikes = heart(SUM_X)
    ready = bikes.plans.of(BIKES, 1)

    bikes.plans.apply(PipelineApplied(BIKES, (pipeline(SUM_X),)))

    assert bikes.plans.of(BIKES, 1) is ready
