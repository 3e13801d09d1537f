"""A cheap update: trees added to the champion's."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xgboost
from threadpoolctl import threadpool_info

from millrace_artifacts.artifact import Runtime, read_artifact
from millrace_artifacts.scorer import load_scorer
from millrace_kernel.pipeline import Gate, LabelKind
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, NoCandidateError, TooFewRowsError
from millrace_training.adapters.fitting.updating import TREES


def job(path, **changed):
    made = FitJob(
        "mill", 1, LabelKind.REGRESSION, ("x", "z"), (), ("xgboost",), path, 400, 50, threads=1
    )
    return replace(made, **changed)


@pytest.fixture(scope="module")
def champion(learnt):
    return fit_candidates(job(learnt)).artifact


def test_it_mends_what_has_changed(champion, changed):
    result = fit_candidates(job(changed, champion=champion, update=True))
    assert result.metrics["mae"] < 0.5 * result.champion_metrics["mae"]
    assert result.better_probability > 0.99
    artifact = read_artifact(result.artifact)
    assert artifact.model.runtime is Runtime.NATIVE
    load_scorer(artifact)  # it answers its examples as it did when it was written


def test_the_same_update_gives_the_same_bytes(champion, changed):
    asked = job(changed, champion=champion, update=True)
    assert fit_candidates(asked).artifact == fit_candidates(asked).artifact


def test_updates_stand_on_the_base_and_not_on_each_other(dataset, champion, changed, tmp_path):
    first = fit_candidates(job(changed, champion=champion, update=True))
    later = dataset(tmp_path / "later.parquet", 700, 1000, slope=5.0)
    second = fit_candidates(job(later, champion=first.artifact, update=True))
    straight = fit_candidates(job(later, champion=champion, update=True))
    base_rounds = json.loads(first.parameters_json)["base_rounds"]
    native = read_artifact(second.artifact).model.native
    assert xgboost.Booster(model_file=bytearray(native.content)).num_boosted_rounds() == (
        base_rounds + TREES
    )
    assert read_artifact(straight.artifact).model.native == native


def test_rows_that_the_base_has_learnt_are_not_learnt_again(dataset, champion, tmp_path):
    overlapping = dataset(tmp_path / "rows.parquet", 300, 600, slope=-10.0)
    result = fit_candidates(job(overlapping, champion=champion, update=True))
    assert result.learnt_rows == 100  # those from second 500 on


def test_too_little_that_is_new_is_refused(dataset, champion, tmp_path):
    stale = dataset(tmp_path / "rows.parquet", 200, 510, slope=10.0)
    with pytest.raises(TooFewRowsError, match="10 rows came since"):
        fit_candidates(job(stale, champion=champion, update=True))


def test_only_boosted_trees_are_updated(changed):
    linear = fit_candidates(job(changed, candidates=("linear",))).artifact
    with pytest.raises(NoCandidateError, match="only boosted trees are updated"):
        fit_candidates(job(changed, champion=linear, update=True))
    with pytest.raises(NoCandidateError, match="no champion to update"):
        fit_candidates(job(changed, update=True))
    full = fit_candidates(job(changed)).artifact
    with pytest.raises(NoCandidateError, match="other columns"):
        fit_candidates(job(changed, champion=full, update=True, numbers=("x", "w")))


def test_gates_are_measured_of_an_update_too_and_leave_the_artifact_as_it_is(champion, changed):
    asked = job(changed, champion=champion, update=True)
    gates = (Gate("overfit", max=1), Gate("latency_us", max=1), Gate("mae", better_than="baseline"))
    measured, plain = fit_candidates(replace(asked, gates=gates)), fit_candidates(asked)

    assert measured.metrics.keys() - plain.metrics.keys() == {"overfit", "latency_us"}
    assert measured.evidence.baseline.better_probability > 0.99
    assert plain.evidence.baseline is None
    assert measured.artifact == plain.artifact


def test_an_update_does_not_look_at_what_is_not_to_be_learnt(learnt, changed):
    """The label follows x alone: trees that don't see it mend nothing."""
    errors = {}
    for unlearnt in ("x", "z"):
        narrow = fit_candidates(job(learnt, unlearnt=(unlearnt,))).artifact
        result = fit_candidates(job(changed, champion=narrow, update=True, unlearnt=(unlearnt,)))
        errors[unlearnt] = result.metrics["mae"]

    assert errors["x"] > 2 * errors["z"]


@pytest.mark.parametrize("kind", ["xgboost", "online_linear"])
def test_an_update_looks_at_the_columns_that_its_champion_looks_at(
    kind, learnt, changed, dataset, tmp_path
):
    """The champion's search left x out, and the label follows x alone: no update may find that out."""
    full = job(learnt, candidates=(kind,))
    settled = fit_candidates(full).winner
    narrow = fit_candidates(replace(full, winner=replace(settled, without=("x",)))).artifact
    update = fit_candidates(job(changed, champion=narrow, update=True))
    again = dataset(tmp_path / "again.parquet", 700, 1000, slope=-10.0)
    second = fit_candidates(job(again, champion=update.artifact, update=True))

    for result in (update, second):
        scorer = load_scorer(read_artifact(result.artifact))
        numbers = np.array([[-2.0, 0.5], [0.0, 0.5], [2.0, 0.5]])
        answers = scorer.score(numbers, [()] * 3).values
        assert len(set(answers.tolist())) == 1
        assert json.loads(result.parameters_json)["without"] == ["x"]
        assert any("without x" in note for note in result.notes)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("part", ["procedure.run", "updating.run_update"])
def test_no_library_may_start_more_threads_than_the_job_says(learnt, monkeypatch, part, threads):
    """XGBoost's own setting is not all of it: OpenMP's other threads spun, and were half of what an update cost."""
    allowed = []
    monkeypatch.setattr(
        f"millrace_training.adapters.fitting.{part}",
        lambda *_: allowed.extend(threadpool_info()),
    )

    fit_candidates(job(learnt, update=part == "updating.run_update", threads=threads))

    assert {pool["user_api"] for pool in allowed} == {"blas", "openmp"}
    assert {pool["num_threads"] for pool in allowed} == {threads}
