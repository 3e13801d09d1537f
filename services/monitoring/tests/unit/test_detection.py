"""The whole heart on seeded streams: how rarely it is wrong, how soon it is right, what it says."""

import math
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.profile import number_column
from millrace_monitoring.domain.events import (
    AlertRaised,
    AlertResolved,
    DataQualityViolated,
    DriftCleared,
    DriftDetected,
    Kind,
    LabelObserved,
    PerformanceDegraded,
)

WINDOW = 100


def label_of(prediction, truth):
    return LabelObserved(
        f"label-{prediction.event_id}",
        prediction.pipeline,
        prediction.event_id,
        prediction.recorded_at,
        truth,
    )


def kinds(events):
    return [type(event).__name__ for event in events]


@pytest.fixture
def heart(new_heart, watching, promoted):
    heart = new_heart(watching(window=WINDOW))
    heart.hear(promoted())
    return heart


def test_two_hundred_unchanged_windows_make_no_false_alarm(heart, traffic, labels_of):
    """Stated: chance alone makes one window in 1,000 drift, so 0.2 are expected here. Seen: none, of any kind."""
    rng = np.random.default_rng(11)
    predictions = list(traffic(rng, 200 * WINDOW))

    heart.hear(predictions)
    heart.hear(labels_of(rng, predictions))

    assert heart.said == []
    assert heart.monitors["bikes"].overall.events == 200 * WINDOW


def test_with_a_threshold_of_almost_nothing_chance_still_makes_one_window_in_a_thousand(
    new_heart, watching, promoted, traffic
):
    """The noise level alone, without the pipeline's threshold: 300 windows of three columns and the prediction."""
    watched = watching(window=WINDOW)
    strict = replace(watched.monitoring, data_drift_threshold=1e-9, prediction_drift_threshold=1e-9)
    heart = new_heart(replace(watched, monitoring=strict))
    heart.hear(promoted())

    heart.hear(traffic(np.random.default_rng(5), 300 * WINDOW))

    detected = [event for event in heart.said if isinstance(event, DriftDetected)]
    assert len(detected) <= 2


def test_a_shift_of_one_column_is_said_once_with_its_evidence_and_cleared_when_it_is_over(
    heart, traffic
):
    rng = np.random.default_rng(12)
    heart.hear(traffic(rng, 5 * WINDOW))
    assert heart.said == []

    said = heart.hear(traffic(rng, 5 * WINDOW, first=500, mean=20.0))

    assert kinds(said) == ["DriftDetected", "AlertRaised"]
    detected, raised = said
    assert (detected.kind, detected.subject, detected.method) == (Kind.DATA, "temp", "psi")
    assert detected.statistic > detected.threshold >= 0.2
    assert detected.reference_mean == pytest.approx(15.0, abs=0.3)
    assert detected.window_mean == pytest.approx(20.0, abs=1.5)
    assert (detected.window_events, detected.model_version) == (WINDOW, 1)
    minute = 60_000_000
    assert detected.window_end - detected.window_start == (WINDOW - 1) * minute
    assert raised.fingerprint == "bikes/data/temp"

    said = heart.hear(traffic(rng, 2 * WINDOW, first=1000))

    assert kinds(said) == ["DriftCleared", "AlertResolved"]


def test_a_shift_is_found_in_the_first_window_that_is_wholly_after_it(heart, traffic):
    rng = np.random.default_rng(13)
    heart.hear(traffic(rng, 3 * WINDOW))

    shifted = traffic(rng, 2 * WINDOW, first=3 * WINDOW, mean=20.0)
    delays = [number for number, one in enumerate(shifted, 1) if heart.hear(one)]

    assert delays == [WINDOW]


def test_columns_that_shift_together_are_said_together_the_worst_first(heart, a_prediction):
    rng = np.random.default_rng(14)

    said = heart.hear(
        a_prediction(
            number,
            numbers=(rng.normal(21, 5), rng.random() ** 3),
            categories=("snow",),
            answer=rng.normal(100, 20),
        )
        for number in range(WINDOW)
    )

    detected = said[0]
    assert isinstance(detected, DriftDetected)
    assert detected.subject == "weather"
    assert set(detected.also) == {"temp", "hum"}
    assert kinds(said) == ["DriftDetected", "AlertRaised"]


def test_a_shift_of_the_answers_alone_is_prediction_drift(heart, traffic):
    rng = np.random.default_rng(15)

    said = heart.hear(
        replace(prediction, answer=prediction.answer + 20) for prediction in traffic(rng, WINDOW)
    )

    assert kinds(said) == ["DriftDetected", "AlertRaised"]
    assert (said[0].kind, said[0].subject) == (Kind.PREDICTION, "prediction")
    assert said[0].reference_mean == pytest.approx(100, abs=2)


def test_values_that_go_missing_break_a_rule_of_quality(heart, traffic):
    said = heart.hear(traffic(np.random.default_rng(16), WINDOW, missing=0.4))

    violated = [event for event in said if isinstance(event, DataQualityViolated)]
    assert [(event.column, event.rule, event.threshold) for event in violated] == [
        ("temp", "missing", 0.05)
    ]
    assert violated[0].value == pytest.approx(0.4, abs=0.12)


def test_what_was_missing_in_the_reference_may_be_missing(
    new_heart, watching, promoted, a_profile, traffic
):
    heart = new_heart(watching(window=WINDOW))
    heart.hear(promoted(profile=a_profile(missing=0.4)))

    assert heart.hear(traffic(np.random.default_rng(17), 20 * WINDOW, missing=0.4)) == []


def test_an_error_that_doubles_is_concept_drift_within_two_hundred_labels(
    heart, traffic, labels_of
):
    rng = np.random.default_rng(18)
    predictions = list(traffic(rng, 2000))
    heart.hear(predictions)
    heart.hear(labels_of(rng, predictions[:1000]))
    assert heart.said == []

    said, labels = [], 0
    for label in labels_of(rng, predictions[1000:], error=20.0):
        said += [event for event in heart.hear(label) if isinstance(event, DriftDetected)]
        labels += not said

    (detected,) = said
    assert labels < 200
    assert (detected.kind, detected.subject, detected.method) == (Kind.CONCEPT, "error", "adwin")
    assert detected.statistic > detected.threshold > 0
    assert detected.reference_mean == pytest.approx(8.0, abs=1.0)
    assert detected.window_mean == pytest.approx(16.0, abs=3.0)
    began = predictions[1000].event_time
    assert abs(detected.window_start - began) < 100 * 60_000_000
    assert detected.window_start < detected.window_end


def test_one_absurd_error_neither_is_drift_nor_hides_it(heart, traffic, labels_of):
    rng = np.random.default_rng(27)
    predictions = list(traffic(rng, 1500))
    heart.hear(predictions)

    heart.hear(labels_of(rng, predictions[:500]))
    heart.hear(label_of(predictions[500], 1e9))
    heart.hear(labels_of(rng, predictions[501:1000]))
    assert [event for event in heart.said if isinstance(event, DriftDetected)] == []
    said = heart.hear(labels_of(rng, predictions[1000:1300], error=25.0))

    assert [event.kind for event in said if isinstance(event, DriftDetected)] == [Kind.CONCEPT]


def test_an_error_that_halves_is_no_drift(heart, traffic, labels_of):
    rng = np.random.default_rng(19)
    predictions = list(traffic(rng, 2000))
    heart.hear(predictions)

    heart.hear(labels_of(rng, predictions[:1000]))
    heart.hear(labels_of(rng, predictions[1000:], error=5.0))

    assert heart.said == []


def test_concept_drift_is_cleared_when_the_error_is_back_where_it_was(heart, traffic, labels_of):
    rng = np.random.default_rng(20)
    predictions = list(traffic(rng, 3000))
    heart.hear(predictions)

    heart.hear(
        chain(
            labels_of(rng, predictions[:1000]),
            labels_of(rng, predictions[1000:2000], error=25.0),
            labels_of(rng, predictions[2000:]),
        )
    )

    concept = [
        event
        for event in heart.said
        if isinstance(event, DriftDetected | DriftCleared) and event.kind is Kind.CONCEPT
    ]
    assert kinds(concept) == ["DriftDetected", "DriftCleared"]
    assert heart.monitors["bikes"].standing.findings == {}


def test_an_error_that_falls_but_not_back_to_where_it_was_is_still_drift(heart, traffic, labels_of):
    rng = np.random.default_rng(26)
    predictions = list(traffic(rng, 3000))
    heart.hear(predictions)

    heart.hear(
        chain(
            labels_of(rng, predictions[:1000]),
            labels_of(rng, predictions[1000:1500], error=60.0),
            labels_of(rng, predictions[1500:], error=30.0),
        )
    )

    concept = [event for event in heart.said if getattr(event, "kind", None) is Kind.CONCEPT]
    assert kinds(concept) == ["DriftDetected"]
    assert heart.monitors["bikes"].concept.mean == pytest.approx(3.0, abs=0.3)  # in errors of 8


def test_a_window_that_is_worse_than_tolerated_is_degraded_performance(heart, traffic, labels_of):
    rng = np.random.default_rng(21)
    predictions = list(traffic(rng, 2 * WINDOW))
    heart.hear(predictions)

    said = heart.hear(labels_of(rng, predictions, error=15.0))

    degraded = [event for event in said if isinstance(event, PerformanceDegraded)]
    assert [(event.metric, event.bound, event.reference) for event in degraded] == [
        ("mae", 10.0, 8.0)
    ] * 2
    assert degraded[0].value == pytest.approx(12.0, abs=1.5)
    assert degraded[0].window_events == WINDOW
    assert [event.fingerprint for event in said if isinstance(event, AlertRaised)] == [
        "bikes/performance/mae"
    ]


def test_a_binary_champion_is_watched_by_its_ranking(
    new_heart, watching, promoted, a_profile, traffic
):
    profile = replace(
        a_profile(metrics={"roc_auc": 0.9, "log_loss": 0.3}),
        prediction=number_column("prediction", np.random.default_rng(1).random(1000).tolist()),
    )
    heart = new_heart(watching(LabelKind.BINARY, window=WINDOW))
    heart.hear(promoted(profile=profile))
    rng = np.random.default_rng(22)
    predictions = [
        replace(prediction, answer=rng.random()) for prediction in traffic(rng, 2 * WINDOW)
    ]
    heart.hear(predictions)

    said = []
    for prediction in predictions[:WINDOW]:
        said += heart.hear(label_of(prediction, float(prediction.answer > 0.5)))
    assert said == []
    for prediction in predictions[WINDOW:]:
        said += heart.hear(label_of(prediction, float(rng.random() < 0.5)))

    degraded = [event for event in said if isinstance(event, PerformanceDegraded)]
    assert [event.metric for event in degraded] == ["roc_auc"]
    assert degraded[0].value == pytest.approx(0.5, abs=0.15)


def test_a_multiclass_champion_measured_by_log_loss_is_watched_by_its_accuracy(
    new_heart, watching, promoted, a_profile, traffic
):
    profile = replace(
        a_profile(metrics={"log_loss": 0.3, "accuracy": 0.9}),
        prediction=a_profile().columns[2],
    )
    heart = new_heart(watching(LabelKind.MULTICLASS, window=WINDOW))
    heart.hear(promoted(profile=profile))
    rng = np.random.default_rng(23)
    predictions = [
        replace(prediction, answer=prediction.categories[0]) for prediction in traffic(rng, WINDOW)
    ]
    heart.hear(predictions)

    said = [
        event for prediction in predictions for event in heart.hear(label_of(prediction, "hail"))
    ]

    assert "PerformanceDegraded" in kinds(said)
    assert said[-2].metric == "accuracy"


def test_a_promotion_resolves_what_stood_and_measures_by_the_new_profile(
    heart, traffic, promoted, a_profile
):
    rng = np.random.default_rng(24)
    heart.hear(traffic(rng, WINDOW, mean=20.0))
    warmer = a_profile()
    temps = np.random.default_rng(2).normal(20.0, 5.0, 5000).tolist()
    warmer = replace(warmer, columns=(number_column("temp", temps), *warmer.columns[1:]))

    said = heart.hear(promoted(2, 2, warmer))

    assert said == [AlertResolved("bikes", "bikes/data/temp", "promoted-2")]
    of_two = (
        replace(prediction, epoch=2, model_version=ModelVersionNumber(2))
        for prediction in traffic(rng, 5 * WINDOW, first=200, mean=20.0)
    )
    assert heart.hear(of_two) == []


def test_heavy_tailed_errors_that_do_not_change_make_no_concept_drift(heart, traffic):
    rng = np.random.default_rng(25)
    predictions = list(traffic(rng, 60 * WINDOW))
    heart.hear(predictions)

    for prediction in predictions:
        error = rng.lognormal(0.0, 1.0) / math.exp(0.5) * 8.0
        heart.hear(label_of(prediction, prediction.answer + error))

    assert [event for event in heart.said if isinstance(event, DriftDetected)] == []
