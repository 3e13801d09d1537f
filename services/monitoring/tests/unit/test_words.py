"""Answers in words are measured live as on a holdout: what is said the same, ROUGE-L and BLEU."""

from dataclasses import replace

import msgspec
import pytest

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import LabelKind, Promotion, Strategy
from millrace_kernel.profile import text_column
from millrace_kernel.time import Instant
from millrace_kernel.wording import rouge_l, together
from millrace_monitoring.domain.events import (
    ChallengerCompared,
    ChallengerStarted,
    PerformanceDegraded,
    Role,
    Verdict,
)
from millrace_monitoring.domain.findings import of_quality
from millrace_monitoring.domain.quality import (
    Pair,
    QualityReport,
    QualityWindow,
    Tally,
    counted,
    error_of,
    metrics_of,
    update,
)
from millrace_monitoring.domain.windows import reference_of

PAIRS = [
    ("Yes, we can.", "Yes, we can."),
    ("so  be it", "so be it "),
    ("Choose a new one in the settings", "Choose another one in the app"),
    ("No.", "Yes."),
]
BIKES = PipelineName("bikes")
MET = Promotion(Strategy.SHADOW, min_labels=20, max_labels=4000)


def pair(answer: str, truth: str) -> Pair:
    return Pair(answer, truth, Instant(1))


def report_over(pairs) -> QualityReport:
    window, report = QualityWindow(), None
    for each in pairs:
        assert report is None
        window, report = update(window, LabelKind.TEXT, pair(*each), len(pairs))
    assert report is not None
    assert metrics_of(window.tally, LabelKind.TEXT) == {}
    return report


def test_an_error_is_what_candidates_are_compared_by():
    """1 less ROUGE-L: five of seven words in their order, and of two marks one."""
    found = [error_of(LabelKind.TEXT, pair(*each)) for each in PAIRS]
    assert found == pytest.approx([0.0, 0.0, 1 - 2 * 4 / (7 + 6), 0.5])


def test_a_window_tells_what_a_holdout_would():
    whole = together(PAIRS)
    assert report_over(PAIRS).metrics == pytest.approx(
        {"exact_match": 0.5, "rouge_l": whole.mean_rouge_l, "bleu": whole.bleu}
    )
    assert 0.5 < whole.bleu < whole.mean_rouge_l < 1.0


def test_what_was_counted_before_there_were_such_sums_is_measured_by_what_is_known():
    """A state of then: its hits count, its words are nowhere."""
    kept = msgspec.json.decode(b'{"events": 3, "hits": 3}', type=Tally)
    assert metrics_of(kept, LabelKind.TEXT) == {"exact_match": 1.0}
    grown = counted(kept, LabelKind.TEXT, pair("No.", "Yes."))
    assert metrics_of(grown, LabelKind.TEXT) == pytest.approx(
        {"exact_match": 0.75, "rouge_l": 0.5, "bleu": 0.5}
    )


def test_sums_survive_being_kept():
    total = Tally()
    for each in PAIRS:
        total = counted(total, LabelKind.TEXT, pair(*each))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(total), type=Tally) == total


@pytest.mark.parametrize("metric", ["rouge_l", "bleu", "exact_match"])
def test_a_champion_is_held_against_the_metric_that_its_gates_name(a_profile, metric):
    profile = a_profile(metrics={metric: 0.95})
    found = of_quality(reference_of(1, 1, profile), report_over(PAIRS), 0.25)
    assert (found.subject, found.beyond) == (metric, report_over(PAIRS).metrics[metric] < 0.7125)
    assert found.statistic == report_over(PAIRS).metrics[metric]


ANSWER, CORRECTED = "Choose a new one in the settings.", "Choose another one in the new app."


@pytest.fixture
def heart(new_heart, watching, promoted, a_profile):
    """Version 1 answers; on its holdout ROUGE-L was 0.9."""
    profile = a_profile(metrics={"rouge_l": 0.9, "bleu": 0.85, "exact_match": 0.0})
    profile = replace(profile, prediction=text_column("prediction", [ANSWER] * 20))
    made = new_heart(watching(LabelKind.TEXT, window=10, promotion=MET))
    made.hear(promoted(1, 1, profile))
    return made


def test_words_that_get_further_from_the_truth_are_told_of_though_none_was_ever_the_same(
    heart, a_prediction, a_label
):
    """`exact_match` is 0 before and after."""
    said = []
    for number in range(20):
        truth = CORRECTED if number >= 10 else ANSWER.replace("Choose", "Please choose")
        said += heart.hear([a_prediction(number, answer=ANSWER), a_label(number, truth)])
        if number == 9:
            assert not said
    [degraded] = [event for event in said if isinstance(event, PerformanceDegraded)]
    assert (degraded.metric, degraded.reference) == ("rouge_l", 0.9)
    assert degraded.value == pytest.approx(together([(ANSWER, CORRECTED)]).mean_rouge_l)


def test_of_two_versions_that_never_say_the_same_the_nearer_one_is_proven_better(
    heart, a_prediction, a_label
):
    two = ModelVersionNumber(2)
    heart.hear(ChallengerStarted("t", BIKES, two, 1, 0, 1, ModelVersionNumber(1), Instant(0)))
    said = []
    for number in range(400):
        champion = a_prediction(number, answer=ANSWER, trial=1)
        nearer = CORRECTED.replace("app", "place")
        other = a_prediction(
            number, id=f"c{number}", answer=nearer, role=Role.CHALLENGER, model_version=two, trial=1
        )
        said += heart.hear([champion, other, a_label(number, CORRECTED)])
    told = [one for one in said if isinstance(one, ChallengerCompared)]
    proof = next(one for one in told if one.verdict is not Verdict.UNDECIDED)
    assert (proof.verdict, proof.loss, proof.metric) == (Verdict.BETTER, "1 - rouge_l", "rouge_l")
    gained = rouge_l(nearer, CORRECTED) - rouge_l(ANSWER, CORRECTED)
    assert proof.difference == pytest.approx(gained)
    assert proof.challenger_value - proof.champion_value == pytest.approx(gained)
