"""Answers in words are counted live by how many say what the truth says."""

import pytest

from millrace_kernel.pipeline import LabelKind
from millrace_kernel.time import Instant
from millrace_monitoring.domain.quality import Pair, QualityWindow, error_of, metrics_of, update

PAIRS = [("Yes.", "Yes."), ("so  be it", "so be it "), ("Yes.", "yes"), ("No.", "Yes.")]


def pair(answer: str, truth: str) -> Pair:
    return Pair(answer, truth, Instant(1))


def test_white_space_counts_for_nothing_and_all_else_does():
    assert [error_of(LabelKind.TEXT, pair(*each)) for each in PAIRS] == [0.0, 0.0, 1.0, 1.0]


def test_a_window_tells_the_share_that_is_right():
    window, report = QualityWindow(), None
    for each in PAIRS:
        assert report is None
        window, report = update(window, LabelKind.TEXT, pair(*each), len(PAIRS))
    assert report is not None
    assert report.metrics == {"exact_match": pytest.approx(0.5)}
    assert metrics_of(window.tally, LabelKind.TEXT) == {}
