"""One event in, events out: what is counted, what waits, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.time import DAY, HOUR, Instant
from millrace_monitoring.application import handlers
from millrace_monitoring.domain.events import (
    LabelRetracted,
    ModelRolledBack,
    PipelineApplied,
    Role,
)
from millrace_monitoring.domain.pipelines import Shape

BIKES = PipelineName("bikes")
FILE = """
metadata: {name: bikes}
spec:
  event:  {id: id, time: at}
  fields: {temp: float, weather: category, %s}
  label:  {field: cnt, kind: regression, delay: 1h}
"""


@pytest.fixture
def heart(new_heart, watching, promoted):
    heart = new_heart(watching())
    heart.hear(promoted())
    return heart


def monitor_of(heart):
    return heart.monitors[BIKES]


def test_an_applied_pipeline_is_watched_by_its_newest_file(new_heart):
    heart = new_heart()
    first = read_pipeline(FILE % "hum: float", version=1)
    second = read_pipeline(FILE % "wind: float", version=2)

    heart.hear(PipelineApplied(second, (first,)))
    heart.hear(PipelineApplied(first, ()))

    watched = heart.pipelines[BIKES]
    assert watched.version == 2
    assert watched.patience == 2 * HOUR + 7 * DAY
    assert watched.shapes == {
        1: Shape(("temp", "hum"), ("weather",)),
        2: Shape(("temp", "wind"), ("weather",)),
    }


def test_shapes_of_files_that_are_no_longer_sent_are_kept(new_heart):
    heart = new_heart()
    heart.hear(PipelineApplied(read_pipeline(FILE % "hum: float", version=1), ()))

    heart.hear(PipelineApplied(read_pipeline(FILE % "wind: float", version=2), ()))

    assert set(heart.pipelines[BIKES].shapes) == {1, 2}


def test_whatever_is_of_an_unknown_pipeline_waits(new_heart, a_prediction, a_label, promoted):
    for event in (a_prediction(), a_label(), promoted(), LabelRetracted("r", BIKES, "event-0")):
        with pytest.raises(TransientError, match="no such pipeline"):
            new_heart().hear(event)


def test_a_prediction_whose_promotion_was_not_heard_of_waits(heart, a_prediction):
    with pytest.raises(TransientError, match="version 2 answered in epoch 2"):
        heart.hear(a_prediction(epoch=2, model_version=2))


def test_a_prediction_under_a_file_that_was_not_heard_of_waits(heart, a_prediction):
    with pytest.raises(TransientError, match="version 2 of its file"):
        heart.hear(a_prediction(pipeline_version=2))


def test_a_prediction_under_a_forgotten_file_is_refused(
    new_heart, watching, promoted, a_prediction
):
    heart = new_heart(replace(watching(shapes={3: Shape((), ())}), version=3))
    heart.hear(promoted())

    with pytest.raises(PermanentError, match=r"known: \[3\]"):
        heart.hear(a_prediction())


def test_before_the_first_champion_the_fallback_is_measured_and_nothing_is_detected(
    new_heart, watching, a_prediction, a_label
):
    heart = new_heart(watching())
    for number in range(500):
        fallback = a_prediction(
            number, model_version=0, epoch=0, role=Role.FALLBACK, numbers=(number, 0.0), answer=1.0
        )
        heart.hear([fallback, a_label(number, float(number))])

    monitor = monitor_of(heart)
    assert heart.said == []
    assert monitor.tallies[0].events == 500
    assert monitor.overall.events == 0
    assert (monitor.inputs.events, monitor.quality.events, monitor.concept) == (0, 0, None)


def test_a_request_is_watched_as_input_and_never_waits_for_a_label(heart, a_prediction):
    heart.hear(a_prediction(role=Role.REQUEST))

    assert monitor_of(heart).inputs.events == 1
    assert heart.joins == {}


def test_a_challenger_is_measured_beside_the_champion(heart, a_prediction, a_label):
    challenger = a_prediction(model_version=2, role=Role.CHALLENGER, answer=90.0)

    heart.hear([a_prediction(answer=95.0), challenger, a_label(truth=100.0)])

    monitor = monitor_of(heart)
    assert {version: tally.absolute for version, tally in monitor.tallies.items()} == {
        1: 5.0,
        2: 10.0,
    }
    assert (monitor.overall.events, monitor.quality.events, monitor.inputs.events) == (1, 1, 1)


def test_a_former_champions_answers_count_for_it_but_not_in_the_new_ones_window(
    heart, a_prediction, a_label, promoted
):
    heart.hear([a_prediction(0), a_prediction(1), a_label(0)])
    heart.hear(promoted(2, 2))

    heart.hear([a_label(1), a_prediction(2)])

    monitor = monitor_of(heart)
    assert monitor.tallies[1].events == monitor.overall.events == 2
    assert (monitor.quality.events, monitor.inputs.events) == (0, 0)


def test_a_version_that_answers_again_after_a_roll_back_starts_a_new_window(
    heart, a_prediction, a_label, promoted, a_profile
):
    heart.hear([a_prediction(0), promoted(2, 2)])
    heart.hear(ModelRolledBack("back", BIKES, ModelVersionNumber(1), 3, a_profile()))

    heart.hear([a_label(0), a_prediction(1, epoch=3), a_label(1)])

    monitor = monitor_of(heart)
    assert (monitor.epoch, monitor.version) == (3, 1)
    assert (monitor.quality.events, monitor.tallies[1].events) == (1, 2)


def test_an_older_epoch_changes_nothing(heart, promoted, a_prediction):
    heart.hear(promoted(3, 3))
    before, reference = monitor_of(heart), heart.references[BIKES]

    heart.hear([promoted(2, 2), promoted(3, 3)])

    assert monitor_of(heart) is before
    assert heart.references[BIKES] is reference


@pytest.mark.parametrize(
    ("kind", "answer"),
    [(LabelKind.REGRESSION, "sun"), (LabelKind.BINARY, "yes"), (LabelKind.MULTICLASS, 1.0)],
)
def test_an_answer_or_a_truth_that_the_label_cannot_be_is_refused(
    new_heart, watching, a_prediction, a_label, kind, answer
):
    heart = new_heart(watching(kind))

    with pytest.raises(PermanentError, match=f"which a {kind} label cannot be"):
        heart.hear(a_prediction(model_version=0, epoch=0, answer=answer))
    with pytest.raises(PermanentError, match=f"which a {kind} label cannot be"):
        heart.hear(a_label(truth=answer))


def test_a_label_that_was_taken_back_in_time_is_not_counted(heart, a_prediction, a_label):
    heart.hear([a_label(0), LabelRetracted("r", BIKES, "event-0"), a_prediction(0)])

    assert monitor_of(heart).overall.events == 0
    assert len(heart.joins) == 1


def test_what_waits_in_vain_is_forgotten_when_both_its_time_and_its_number_are_past(
    heart, a_prediction, monkeypatch
):
    monkeypatch.setattr(handlers, "WAITS_FOR_AT_LEAST", 2)
    later = Instant(a_prediction(0).recorded_at + 7 * DAY + 1)

    heart.hear([a_prediction(number) for number in range(4)])
    assert len(heart.joins) == 4
    heart.hear(a_prediction(4, recorded_at=later))

    assert [key[1] for key in heart.joins] == ["event-1", "event-2", "event-3", "event-4"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_in_whatever_order_they_come_every_pair_is_counted_once(
    data, new_heart, watching, promoted, a_prediction, a_label
):
    numbers = range(data.draw(st.integers(0, 12)))
    predictions = [a_prediction(number, answer=float(number)) for number in numbers]
    labels = [a_label(number, 2.0 * number) for number in numbers]
    order = data.draw(st.permutations([*predictions, *labels]))
    heart = new_heart(watching())
    heart.hear(promoted())

    heart.hear(order)

    monitor = monitor_of(heart)
    assert monitor.overall.events == monitor.quality.events == len(numbers)
    assert monitor.overall.absolute == sum(numbers)
    assert monitor.inputs.events == len(numbers)
    assert heart.joins == {}


def test_the_same_stream_says_the_same_things(new_heart, watching, promoted, traffic):
    def told():
        heart = new_heart(watching())
        heart.hear(promoted())
        return heart.hear(traffic(np.random.default_rng(1), 1000, mean=25.0))

    assert told() == told() != []
