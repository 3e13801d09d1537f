"""What the demo computes from the topics."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from millrace.demo import figures
from millrace.demo.figures import Scored
from millrace.demo.outcome import Outcome, table_of
from millrace.demo.tracing import WHOLE_LOOP, missing_services, services_of
from millrace.feed import Happening
from millrace_kernel.time import SECOND, Instant

TRACE = "0af7651916cd43dd8448eb211c80319c"


def happening(
    type: str,  # noqa: A002  as the field is called
    at: float = 0.0,
    *,
    id: str = "",  # noqa: A002
    sequence: bytes | None = None,
    source: str = "millrace/x",
    partition: int = 0,
    traceparent: str | None = None,
    **fields: Any,
) -> Happening:
    appended = Instant(round(at * SECOND))
    return Happening(
        type, {"pipeline": "bikes"} | fields, "topic", partition, 0, appended, appended,
        id, source, sequence, None, traceparent,
    )  # fmt: skip


def prediction(event_id: str, value: float | None = 1.0, role: str = figures.CHAMPION) -> Happening:
    return happening("PredictionMade", event_id=event_id, value=value, role=role)


def label(event_id: str, value: float = 2.0) -> Happening:
    return happening("LabelObserved", event_id=event_id, number=value)


def accepted(event_id: str) -> Happening:
    return happening("EventAccepted", event_id=event_id)


def heard(*happenings: Happening) -> dict[str, list[Happening]]:
    return figures.of_pipeline(happenings, "bikes")


def a_loop(at: float, number: int, fit: float, *, trace: str | None = None) -> list[Happening]:
    """One drift and all that it led to: five seconds later the new version answers."""
    sent = f"00-{trace}-00f067aa0ba902b7-01" if trace else None
    run, version = f"run-{number}", number + 1
    promoted = {"run_id": run, "version": version, "epoch": version, "trigger": "drift"}
    return [
        happening("DriftDetected", at, id=f"drift-{number}", traceparent=sent),
        happening("RetrainRequested", at + 1, run_id=run),
        happening("TrainingCompleted", at + 3, run_id=run, fit_seconds=fit),
        happening("ModelPromoted", at + 4, cause_id=f"drift-{number}", **promoted),
        happening("ModelDeployed", at + 5, version=version, epoch=version, traceparent=sent),
    ]


FIRST = happening(
    "ModelPromoted", cause_id="enough", run_id="run-0", version=1, epoch=1, trigger="first"
)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 20))))
def test_the_fence_lets_each_sequence_through_once_and_never_back(
    sent: list[tuple[str, int, int]],
) -> None:
    messages = [
        happening("EventAccepted", source=source, partition=partition, sequence=b"%04d" % number)
        for source, partition, number in sent
    ]
    kept = figures.fenced(messages)
    for source in "ab":
        for partition in (0, 1):
            newest = [e.sequence for e in kept if (e.source, e.partition) == (source, partition)]
            assert newest == sorted(set(newest))
            there = [e for e in messages if (e.source, e.partition) == (source, partition)]
            assert bool(newest) == bool(there)


def test_what_does_not_count_is_not_fenced() -> None:
    messages = [happening("Retrain"), happening("Retrain")]
    assert figures.fenced(messages) == messages


def test_all_scored_once_is_exactly_once() -> None:
    counts = figures.counts_of(
        heard(accepted("1"), accepted("2"), prediction("1"), prediction("2"), label("1")),
        {"1", "2"},
    )
    assert counts.exactly_once
    assert (counts.accepted, counts.scored, counts.labelled) == (2, 2, 1)


def test_what_was_sent_and_never_scored_is_lost() -> None:
    counts = figures.counts_of(heard(accepted("1"), prediction("1")), {"1", "2"})
    assert counts.lost == 1
    assert not counts.exactly_once


def test_a_second_answer_or_acceptance_is_doubled() -> None:
    counts = figures.counts_of(
        heard(accepted("1"), accepted("1"), prediction("1"), prediction("1"), prediction("1")),
        {"1"},
    )
    assert counts.doubled == 3
    assert not counts.exactly_once


def test_answers_to_requests_and_of_challengers_are_no_scores() -> None:
    counts = figures.counts_of(
        heard(
            accepted("1"),
            prediction("1", role=figures.FALLBACK),
            prediction("1", role="PREDICTION_ROLE_CHALLENGER"),
            prediction("2", role="PREDICTION_ROLE_REQUEST"),
        ),
        {"1"},
    )
    assert (counts.scored, counts.doubled) == (1, 0)


def test_promotions_by_drift_are_counted_apart() -> None:
    counts = figures.counts_of(heard(FIRST, *a_loop(0, 1, 1.0), *a_loop(9, 2, 1.0)), ())
    assert (counts.promotions, counts.promotions_by_drift) == (3, 2)
    assert (counts.drift_events, counts.runs) == (2, 2)


def test_errors_are_over_what_champions_answered_and_is_labelled() -> None:
    scored = figures.under_champions(
        heard(
            prediction("before", role=figures.FALLBACK),
            prediction("1", 10.0),
            prediction("unlabelled", 10.0),
            prediction("unanswered", None),
            label("before"),
            label("1", 7.0),
            label("unanswered"),
        )
    )
    assert scored == [Scored("1", 10.0, 7.0)]


def test_a_corrected_label_counts_as_corrected() -> None:
    scored = figures.under_champions(heard(prediction("1"), label("1", 7.0), label("1", 8.0)))
    assert scored == [Scored("1", 1.0, 8.0)]


def test_the_mean_error_is_absolute_and_of_nothing_no_number() -> None:
    assert figures.mean_error([(1.0, 3.0), (5.0, 1.0)]) == 3.0
    assert math.isnan(figures.mean_error([]))


def test_from_drift_to_serving_is_told_with_and_without_the_fit() -> None:
    servings = figures.servings_of(heard(FIRST, *a_loop(100, 1, fit=1.5)))
    assert [(each.seconds, each.less_fit_seconds) for each in servings] == [(5.0, 3.5)]


def test_the_first_instance_that_answers_counts() -> None:
    later = happening("ModelDeployed", 190, version=2, epoch=2)
    servings = figures.servings_of(heard(*a_loop(100, 1, fit=0.0), later))
    assert [each.seconds for each in servings] == [5.0]


def test_a_promotion_that_is_not_deployed_has_no_time() -> None:
    assert figures.servings_of(heard(*a_loop(100, 1, fit=1.0)[:-1])) == []


def test_median_and_worst() -> None:
    assert figures.median_and_worst([4.0, 1.0, 2.0]) == (2.0, 4.0)
    assert all(map(math.isnan, figures.median_and_worst([])))


def test_the_whole_loops_trace_began_with_its_drift() -> None:
    assert figures.whole_loop_trace(heard(*a_loop(0, 1, 1.0, trace=TRACE))) == TRACE


def test_a_trace_that_broke_on_the_way_is_none() -> None:
    drift, *rest = a_loop(0, 1, 1.0, trace=TRACE)
    other = happening("DriftDetected", id=drift.id, traceparent=f"00-{'ab' * 16}-{'1' * 16}-01")
    assert figures.whole_loop_trace(heard(other, *rest)) is None
    assert figures.whole_loop_trace(heard(*a_loop(0, 1, 1.0))) is None


def test_the_outcome_has_no_numbers_that_json_has_not() -> None:
    counts = figures.counts_of({}, ())
    nothing = (math.nan, math.nan)
    outcome = Outcome(counts, 0, math.nan, math.nan, nothing, nothing, None)
    told = outcome.as_json(seconds=1.0)
    assert told["mae_loop"] is None
    assert told["drift_to_serving_seconds"] is None
    assert told["seconds"] == 1.0
    assert table_of(outcome, {"more": "lines"}).row_count == 12


def spans(*services: str) -> list[dict[str, Any]]:
    return [{"localEndpoint": {"serviceName": name}} for name in services]


def test_services_are_read_from_spans() -> None:
    assert services_of([*spans("monitoring", "Training"), {}]) == {"monitoring", "training", ""}


async def test_a_whole_trace_misses_nobody_once_its_spans_have_come() -> None:
    answers = iter([[], spans("monitoring"), spans(*WHOLE_LOOP)])
    missing = await missing_services("http://z", "1", seconds=5, ask=lambda _: next(answers))
    assert missing == frozenset()


async def test_who_is_missing_from_a_trace_is_named() -> None:
    missing = await missing_services(
        "http://z", "1", seconds=0, ask=lambda _: spans("training", "registry", "serving")
    )
    assert missing == {"monitoring"}
