"""What is said on entering and leaving, and that it is said once."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.time import Instant
from millrace_monitoring.domain.events import (
    AlertRaised,
    AlertResolved,
    DataQualityViolated,
    DriftCleared,
    DriftDetected,
    Kind,
    PerformanceDegraded,
    Severity,
)
from millrace_monitoring.domain.findings import Finding
from millrace_monitoring.domain.policy import CALM, Context, calmed, judged

BIKES = PipelineName("bikes")
COLUMNS = ("temp", "hum", "wind")


def context(number: int = 1) -> Context:
    return Context(BIKES, ModelVersionNumber(3), f"message-{number}")


def found(subject: str, statistic: float, kind: Kind = Kind.DATA) -> Finding:
    return Finding(
        kind=kind,
        subject=subject,
        method="psi",
        statistic=statistic,
        threshold=0.2,
        beyond=statistic > 0.2,
        window_start=Instant(1),
        window_end=Instant(9),
        window_events=100,
        reference_mean=15.0,
        window_mean=25.0,
    )


def test_the_worst_new_column_is_said_and_the_others_beyond_are_in_also():
    findings = [found("temp", 0.5), found("hum", 0.9), found("wind", 0.1)]

    _, (detected, raised) = judged(CALM, context(), Kind.DATA, findings)

    assert isinstance(detected, DriftDetected)
    assert (detected.subject, detected.statistic, detected.also) == ("hum", 0.9, {"temp": 0.5})
    assert (detected.model_version, detected.window_events) == (3, 100)
    assert raised == AlertRaised(
        pipeline=BIKES,
        fingerprint="bikes/data/hum",
        severity=Severity.WARNING,
        summary="bikes: hum has drifted: psi 0.9 against 0.2 over 100 events, mean 15 -> 25, and 1 more",
        cause_id=detected.id,
    )


def test_nothing_is_said_while_it_lasts():
    standing, _ = judged(CALM, context(1), Kind.DATA, [found("temp", 0.5)])

    assert judged(standing, context(2), Kind.DATA, [found("temp", 0.6)]) == (standing, ())


def test_a_second_column_is_said_but_raises_no_second_alert():
    standing, _ = judged(CALM, context(1), Kind.DATA, [found("temp", 0.5), found("hum", 0.1)])

    standing, said = judged(
        standing, context(2), Kind.DATA, [found("temp", 0.9), found("hum", 0.3)]
    )

    (detected,) = said
    assert isinstance(detected, DriftDetected)
    assert (detected.subject, detected.also) == ("hum", {"temp": 0.9})
    assert standing.alerts == {Kind.DATA: "bikes/data/temp"}


def test_the_alert_is_resolved_when_the_last_column_is_back():
    standing, _ = judged(CALM, context(1), Kind.DATA, [found("temp", 0.5), found("hum", 0.3)])

    standing, said = judged(
        standing, context(2), Kind.DATA, [found("temp", 0.1), found("hum", 0.3)]
    )
    assert [type(event) for event in said] == [DriftCleared]

    standing, (cleared, resolved) = judged(
        standing, context(3), Kind.DATA, [found("temp", 0.1), found("hum", 0.1)]
    )
    assert isinstance(cleared, DriftCleared)
    assert cleared.subject == "hum"
    assert resolved == AlertResolved(BIKES, "bikes/data/temp", cleared.id)
    assert standing == CALM


def test_bad_performance_is_said_for_every_bad_window_with_one_alert():
    standing, first = judged(
        CALM, context(1), Kind.PERFORMANCE, [found("mae", 0.5, Kind.PERFORMANCE)]
    )
    standing, second = judged(
        standing, context(2), Kind.PERFORMANCE, [found("mae", 0.6, Kind.PERFORMANCE)]
    )
    _, third = judged(standing, context(3), Kind.PERFORMANCE, [found("mae", 0.1, Kind.PERFORMANCE)])

    assert [type(event) for event in first] == [PerformanceDegraded, AlertRaised]
    assert [type(event) for event in second] == [PerformanceDegraded]
    assert [type(event) for event in third] == [AlertResolved]
    assert isinstance(first[1], AlertRaised)
    assert first[1].severity is Severity.CRITICAL


def test_every_column_that_is_missing_too_often_is_said_once():
    findings = [found("temp", 0.5, Kind.QUALITY), found("hum", 0.9, Kind.QUALITY)]

    standing, said = judged(CALM, context(1), Kind.QUALITY, findings)
    _, again = judged(standing, context(2), Kind.QUALITY, findings)

    violated = [event.column for event in said if isinstance(event, DataQualityViolated)]
    assert violated == ["hum", "temp"]
    assert len(said) == 3
    assert again == ()


def test_a_new_reference_resolves_every_alert():
    standing, _ = judged(CALM, context(1), Kind.DATA, [found("temp", 0.5)])
    standing, _ = judged(standing, context(2), Kind.CONCEPT, [found("error", 0.5, Kind.CONCEPT)])

    assert calmed(standing, BIKES, "promoted") == (
        AlertResolved(BIKES, "bikes/concept/error", "promoted"),
        AlertResolved(BIKES, "bikes/data/temp", "promoted"),
    )


def test_the_same_cause_gives_the_same_ids_and_another_gives_others():
    _, (first, _) = judged(CALM, context(1), Kind.DATA, [found("temp", 0.5)])
    _, (again, _) = judged(CALM, context(1), Kind.DATA, [found("temp", 0.5)])
    _, (other, _) = judged(CALM, context(2), Kind.DATA, [found("temp", 0.5)])

    assert first == again
    assert isinstance(first, DriftDetected)
    assert isinstance(other, DriftDetected)
    assert first.id != other.id


windows = st.lists(
    st.fixed_dictionaries({column: st.floats(0.0, 0.5) for column in COLUMNS}), max_size=30
)


@given(windows=windows)
def test_states_and_alerts_agree_with_what_was_said(windows: list[dict[str, float]]):
    standing, raised, resolved = CALM, Counter[str](), Counter[str]()
    for number, window in enumerate(windows):
        before = set(standing.findings)
        findings = [found(column, statistic) for column, statistic in window.items()]
        standing, said = judged(standing, context(number), Kind.DATA, findings)

        beyond = {f"data/{column}" for column, statistic in window.items() if statistic > 0.2}
        detected = [event for event in said if isinstance(event, DriftDetected)]
        cleared = {f"data/{event.subject}" for event in said if isinstance(event, DriftCleared)}
        assert set(standing.findings) == beyond
        assert cleared == before - beyond
        assert len(detected) == bool(beyond - before)
        for event in detected:
            assert {event.subject, *event.also} == {key.removeprefix("data/") for key in beyond}
        raised.update(event.fingerprint for event in said if isinstance(event, AlertRaised))
        resolved.update(event.fingerprint for event in said if isinstance(event, AlertResolved))
        still_open = raised - resolved
        assert still_open.total() == bool(beyond)
        assert list(standing.alerts.values()) == list(still_open)
