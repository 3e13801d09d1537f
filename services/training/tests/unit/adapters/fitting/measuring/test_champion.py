"""The champion on the candidate's holdout: by which of its forms it is measured, and when it is not."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_artifacts.artifact import NativeFormat, Runtime, read_artifact
from millrace_artifacts.scorer import load_measured, scorer_of
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.measuring.champion import measure_champion
from millrace_training.adapters.fitting.measuring.measure import metrics_of, row_losses
from millrace_training.adapters.fitting.options import Options
from millrace_training.adapters.fitting.reading.rows import read_rows, split_rows

ROWS = 600


@pytest.fixture(scope="module")
def a_job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("champion")

    def build(kind: LabelKind, **changes) -> FitJob:
        random = np.random.default_rng(3)
        numbers = random.normal(size=(ROWS, 2))
        weather = random.choice(["dry", "wet"], ROWS)
        raw = 3.0 * numbers[:, 0] + 2.0 * (weather == "wet") + random.normal(size=ROWS)
        labels = {
            LabelKind.REGRESSION: raw,
            LabelKind.BINARY: (raw > 1.0) * 1.0,
            LabelKind.MULTICLASS: np.array(["a", "b", "c"])[np.digitize(raw, [-1.0, 3.0])],
        }
        table = {
            "event_id": [f"e{number:05d}" for number in range(ROWS)],
            "event_time_us": np.arange(ROWS) * 1_000_000,
            "numbers": numbers.tolist(),
            "categories": pa.array([[each] for each in weather]),
            "label": labels[kind],
        }
        path = folder / f"{kind}.parquet"
        pq.write_table(pa.table(table), path)
        job = FitJob("mill", 1, kind, ("x", "y"), ("weather",), ("xgboost",), path, 5_000, 100)
        return replace(job, **changes)

    return build


def measured(job: FitJob, champion: bytes):
    return measure_champion(
        replace(job, champion=champion), split_rows(read_rows(job), job).holdout
    )


def by_hand(job: FitJob, scorer):
    """Metrics and losses of a scorer on the job's holdout."""
    rows = split_rows(read_rows(job), job).holdout
    scores = scorer.score(rows.numbers, rows.categories.tolist())
    told = (job.label_kind, scorer.signature.classes, rows.labels, scores)
    return metrics_of(*told), row_losses(*told)


KINDS = [LabelKind.REGRESSION, LabelKind.BINARY, LabelKind.MULTICLASS]


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_has_xgboosts_own_form_is_measured_by_it_and_does_as_well_as_by_the_other(
    a_job, kind, monkeypatch
):
    job = a_job(
        kind, refit=False
    )  # so that what was measured is the model that ships, in both forms
    champion = fit_candidates(job).artifact
    model = read_artifact(champion).model
    metrics, losses = by_hand(job, scorer_of(replace(model, prefers_native=False)))
    assert replace(model, prefers_native=False).runtime is Runtime.ONNX

    monkeypatch.setattr("millrace_artifacts.scorer.onnx_run", None)
    found = measured(job, champion)

    assert found.metrics == pytest.approx(metrics, rel=1e-4)
    assert np.allclose(found.losses, losses, rtol=1e-3, atol=1e-4)
    assert found.notes == ()


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_has_learnt_its_holdout_since_is_measured_as_it_was_before(a_job, kind):
    job = a_job(kind)
    candidate = fit_candidates(job)
    artifact = read_artifact(candidate.artifact)
    metrics, _ = by_hand(job, load_measured(artifact))

    found = measured(job, candidate.artifact)

    assert found.metrics == metrics == candidate.metrics
    assert found.metrics != by_hand(job, scorer_of(artifact.model))[0]


def test_a_calibrated_champion_is_measured_as_it_answers(a_job):
    """Its own form is the model without its calibration, which never answers."""
    job = a_job(LabelKind.BINARY, options=Options(calibration="platt"), refit=False)
    champion = fit_candidates(job).artifact
    model = read_artifact(champion).model
    metrics, _ = by_hand(job, scorer_of(model))

    assert model.only_onnx
    assert model.native.format is NativeFormat.UBJ
    assert measured(job, champion).metrics == metrics


def test_a_champion_of_a_library_without_a_form_that_answers_is_measured_by_onnx(a_job):
    job = a_job(LabelKind.REGRESSION, candidates=("linear",))
    champion = fit_candidates(job).artifact

    assert (
        measured(job, champion).metrics == by_hand(job, load_measured(read_artifact(champion)))[0]
    )


def test_a_champion_that_answers_another_kind_of_label_is_not_compared(a_job):
    champion = fit_candidates(a_job(LabelKind.BINARY)).artifact

    found = measured(a_job(LabelKind.REGRESSION), champion)

    assert (found.metrics, found.losses) == ({}, None)
    [note] = found.notes
    assert "it answers a binary label, this version's is regression" in note


def test_why_there_is_none_is_said_in_words(a_job):
    job = a_job(LabelKind.REGRESSION, no_champion="its object is gone")
    holdout = split_rows(read_rows(job), job).holdout

    found = measure_champion(job, holdout)
    silent = measure_champion(replace(job, no_champion=""), holdout)

    assert found.notes == ("not compared with the champion: its object is gone",)
    assert (silent.metrics, silent.losses, silent.notes) == ({}, None, ())


@pytest.fixture(scope="module")
def soon_after_an_update(a_job):
    """A full run on all rows, whose champion is an update of some rows before, of a full run of some rows before that."""
    job = a_job(LabelKind.REGRESSION)

    def first(count: int) -> FitJob:
        path = job.dataset.with_name(f"first-{count}.parquet")
        pq.write_table(pq.read_table(job.dataset).slice(0, count), path)
        return replace(job, dataset=path)

    full = fit_candidates(first(450)).artifact
    updated = fit_candidates(replace(first(550), champion=full, update=True)).artifact
    return replace(job, champion=updated)


def test_a_full_run_soon_after_an_update_is_held_against_what_neither_has_learnt(
    soon_after_an_update,
):
    job = replace(soon_after_an_update, train_on_last=200)
    result = fit_candidates(job)

    until = read_artifact(job.champion).learnt.measured_until_us
    learnt = read_artifact(result.artifact).learnt
    assert result.holdout_rows == learnt.holdout_rows == 70
    assert learnt.measured_until_us == until  # both stand as far behind
    assert (result.train_rows, result.learnt_rows) == (230, 300)  # what is not held out is learnt
    assert 0.02 < result.better_probability < 0.98
    assert any("the champion had learnt them" in note for note in result.notes)
    assert not any("looks too good" in note for note in result.notes)


def test_it_is_made_again_without_the_champion(soon_after_an_update):
    job = replace(soon_after_an_update, train_on_last=200)
    made = fit_candidates(job)
    again = fit_candidates(replace(job, champion=None, winner=made.winner))

    assert again.artifact == made.artifact


@pytest.mark.parametrize("kept", [0, 5])
def test_where_the_champion_has_learnt_nearly_all_the_holdout_stays_and_a_note_says_so(
    a_job, soon_after_an_update, kept
):
    until = read_artifact(soon_after_an_update.champion).learnt.measured_until_us
    rows = until // 1_000_000 + 1 + kept
    path = soon_after_an_update.dataset.with_name(f"just-{rows}.parquet")
    pq.write_table(pq.read_table(soon_after_an_update.dataset).slice(0, rows), path)
    result = fit_candidates(replace(soon_after_an_update, dataset=path))

    assert result.holdout_rows == 100
    assert result.winner.holdout_rows == 0
    assert any("looks too good" in note for note in result.notes)
