"""Models that read free text: every kind learns from it, and its artifact alone answers."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.explain import load_explainer
from millrace_artifacts.scorer import load_scorer
from millrace_artifacts.texts import TextColumn
from millrace_kernel.pipeline import Gate, LabelKind, VectorKind
from millrace_kernel.profile import profile_from_json
from millrace_training.adapters.cards.job import About, CardJob
from millrace_training.adapters.cards.make import make_card
from millrace_training.adapters.fitting.algorithms.estimators import ALGORITHMS
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.options import Options

ROWS = 500
REVIEW = TextColumn("review", (1, 2), (), 64)
GOOD, BAD = ("great", "lovely", "good"), ("awful", "broken", "bad")
THINGS = ("bike", "saddle", "brake", "lock", "bell", "station", "app", "ride")
FRESH = """
import hashlib, sys
from pathlib import Path
import msgspec
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob
for line in sys.stdin:
    job = msgspec.json.decode(line, type=FitJob, dec_hook=lambda kind, value: kind(value))
    print(hashlib.sha256(fit_candidates(job).artifact).hexdigest(), flush=True)
"""


def reviews(random: np.random.Generator, rows: int) -> tuple[list[str], np.ndarray]:
    """What people write, and how content they are: nothing but the words tells it. Some write nothing."""
    content = random.integers(-1, 2, rows)
    lines = []
    for mood in content:
        words = random.choice(THINGS, 3).tolist()
        if mood:
            words.insert(int(random.integers(4)), str(random.choice(GOOD if mood > 0 else BAD)))
        lines.append(" ".join(words) if mood or random.random() < 0.8 else "")
    return lines, content


def label_of(kind: LabelKind, content: np.ndarray) -> np.ndarray:
    match kind:
        case LabelKind.REGRESSION:
            return 10.0 * content
        case LabelKind.BINARY:
            return (content > 0) * 1.0
        case _:
            return np.array(["bad", "neither", "good"])[content + 1]


@pytest.fixture
def a_job(tmp_path):
    def build(kind=LabelKind.BINARY, candidate="logistic", **changes) -> FitJob:
        random = np.random.default_rng(5)
        lines, content = reviews(random, ROWS)
        towns = random.choice(["Ulm", "Bonn"], ROWS)
        path = tmp_path / f"{kind}.parquet"
        table = {
            "event_id": [f"event-{number}" for number in range(ROWS)],
            "event_time_us": pa.array(np.arange(ROWS) * 3_600_000_000),
            "numbers": pa.array(random.normal(size=(ROWS, 1)).tolist()),
            "categories": pa.array([list(row) for row in zip(lines, towns, strict=True)]),
            "label": pa.array(label_of(kind, content).tolist()),
        }
        pq.write_table(pa.table(table), path)
        columns = ("noise",), ("review", "town")
        options = Options(texts=(REVIEW,))
        given = {"options": options, "holdout_last": 80} | changes
        return FitJob("reviews", 1, kind, *columns, (candidate,), path, 420, **given)

    return build


EVERY = [
    (algorithm.name, kind)
    for algorithm in ALGORITHMS.values()
    for kind in sorted(algorithm.kinds - {LabelKind.TEXT}, key=lambda kind: kind.value)
]  # answers in words: test_words


LEARN_LITTLE = (
    "k_nearest",
    "online_linear",
    "online_logistic",
)  # of 400 rows: no single answer is sure


@pytest.mark.parametrize(("candidate", "kind"), EVERY)
def test_every_kind_of_model_learns_from_words_and_answers_from_its_artifact(
    a_job, candidate, kind
):
    result = fit_candidates(a_job(kind, candidate))
    primary = profile_from_json(result.reference_profile).primary_metric
    # far from everything in so many columns, nearest neighbours learn little
    share = 0.97 if candidate == "k_nearest" else 0.8
    assert result.metrics[primary] < share * result.baseline_metrics[primary]

    artifact = read_artifact(result.artifact)
    assert artifact.signature.texts == (REVIEW,)
    assert artifact.model.parity.largest_difference < 1e-4
    scorer = load_scorer(artifact)
    asked = [("A GREAT bike, saddle, ride", "Ulm"), ("awful bike saddle ride", "Ulm")]
    good, bad = scorer.score(np.zeros((2, 1)), asked).values.tolist()
    if candidate in LEARN_LITTLE:
        return
    if kind is LabelKind.MULTICLASS:
        classes = artifact.signature.classes
        assert [classes[int(good)], classes[int(bad)]] == ["good", "bad"]
    else:
        assert good > bad + (0.3 if kind is LabelKind.BINARY else 3.0)


@pytest.mark.timeout(600)
def test_models_are_equal_to_the_bit_in_a_fresh_process(a_job):
    """One of each way of eating a matrix; that every kind is, is tested where no text is."""
    jobs = []
    for candidate, kind in (
        ("xgboost", LabelKind.MULTICLASS),
        ("logistic", LabelKind.BINARY),
        ("k_nearest", LabelKind.REGRESSION),
        ("online_linear", LabelKind.REGRESSION),
    ):
        job = a_job(kind, candidate)
        jobs.append((job, fit_candidates(job)))
    settled = [replace(job, winner=result.winner) for job, result in jobs]
    done = subprocess.run(
        [sys.executable, "-c", FRESH],
        input=b"\n".join(msgspec.json.encode(job, enc_hook=str) for job in settled),
        capture_output=True,
        check=False,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONHASHSEED": "7"},
    )
    assert done.returncode == 0, done.stderr.decode()
    here = [hashlib.sha256(result.artifact).hexdigest() for _, result in jobs]
    assert done.stdout.decode().split() == here


def test_the_profile_watches_how_long_texts_are(a_job):
    profile = profile_from_json(fit_candidates(a_job()).reference_profile)
    column = {each.name: each for each in profile.columns}["review"]
    assert column.kind is VectorKind.TEXT
    assert 0.03 < column.missing < 0.12
    assert 10 < min(column.edges) < max(column.edges) < 40
    assert not column.names


@pytest.mark.parametrize("candidate", ["xgboost", "logistic", "random_forest"])
def test_a_text_is_explained_as_one(a_job, candidate):
    artifact = read_artifact(fit_candidates(a_job(candidate=candidate)).artifact)
    explained = load_explainer(artifact).explain(
        np.zeros((2, 1)), [("a great bike", "Ulm"), ("an awful bike", "Ulm")]
    )
    good, bad = np.abs(explained.contributions[:, :, 0])
    assert explained.contributions.shape == (2, 3, 1)  # noise, review, town
    assert good[1] > 3 * max(good[0], good[2])
    assert bad[1] > 3 * max(bad[0], bad[2])
    assert explained.contributions[0, 1, 0] > 0 > explained.contributions[1, 1, 0]


def test_a_card_tells_of_a_text_without_curve_or_slices(a_job):
    fit = a_job()
    about = About(
        owner="shop",
        description="",
        label="content",
        run_id="run-1",
        run_number=1,
        trigger="first",
        as_of="2026-03-01T00:00:00Z",
        dataset_uri="file:///objects/reviews.parquet",
        dataset_sha256="dd",
        artifact_sha256="aa",
        champion_version=0,
    )
    card = make_card(CardJob(fit, fit_candidates(fit), about))
    assert card.facts.features[0].name == "review"
    assert {curve.name for curve in card.facts.curves} == {"noise", "town"}
    assert {part.by for part in card.facts.slices} == {"town"}
    assert card.facts.notes == ("review: free text, so without a curve and without slices",)


def test_gates_are_measured_beside_a_text(a_job):
    """A slice by another column, and a leak score, which looks at the other columns only."""
    checks = ("leak", "noise_drop", "missing_drop", "overfit", "latency_us")
    gates = [Gate(metric, max=1.0) for metric in checks]
    gates.append(Gate("accuracy", min=0.5, by="town", rows=10))
    result = fit_candidates(a_job(gates=tuple(gates)))
    assert {*checks} <= result.metrics.keys()
    assert set(result.evidence.column_scores) == {"noise", "town"}
    assert {part.value for part in result.evidence.slices} == {"Ulm", "Bonn"}
    assert result.evidence.schema.categories == ("review", "town")


def test_a_search_may_do_without_a_text(a_job):
    """Nothing is learnt from a column that is blinded, and it stays in the signature."""
    job = a_job()
    settled = fit_candidates(job).winner
    result = fit_candidates(replace(job, winner=replace(settled, without=("review",))))
    assert result.metrics["roc_auc"] < 0.7
    scorer = load_scorer(read_artifact(result.artifact))
    same = scorer.score(np.zeros((2, 1)), [("great", "Ulm"), ("awful", "Ulm")]).values
    assert same[0] == pytest.approx(same[1], abs=1e-6)


def test_a_text_that_is_not_to_be_learnt_is_not_given_to_a_model(a_job):
    result = fit_candidates(a_job(unlearnt=("review",)))
    signature = read_artifact(result.artifact).signature
    assert (signature.categories, signature.texts) == (("town",), ())
    assert result.metrics["roc_auc"] < 0.7


def test_an_update_reads_text_as_its_champion_does(a_job, tmp_path):
    job = a_job(candidate="xgboost", holdout_last=60)
    older = tmp_path / "older.parquet"
    pq.write_table(pq.read_table(job.dataset).slice(0, 250), older)
    champion = fit_candidates(replace(job, dataset=Path(older)))
    updated = fit_candidates(replace(job, champion=champion.artifact, update=True))
    assert updated.metrics["log_loss"] < 0.8 * updated.baseline_metrics["log_loss"]
    assert read_artifact(updated.artifact).signature.texts == (REVIEW,)
