"""A cheap update: trees added to the champion's."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost
from threadpoolctl import threadpool_info

from millrace_artifacts.artifact import Runtime, read_artifact
from millrace_artifacts.scorer import load_scorer
from millrace_kernel.pipeline import UPDATED, Gate, LabelKind
from millrace_training.adapters.fitting.algorithms.estimators import ALGORITHMS
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, NoCandidateError, TooFewRowsError
from millrace_training.adapters.fitting.options import Options
from millrace_training.adapters.fitting.updating import TREES


def job(path, **changed):
    made = FitJob(
        "mill", 1, LabelKind.REGRESSION, ("x", "z"), (), ("xgboost",), path, 400, 50, threads=1
    )
    return replace(made, **changed)


@pytest.fixture
def rare(dataset):
    """Writes a dataset whose labels are 1 in a small share of the rows, the more often the larger x."""

    def written(path, first, last, share=0.05):
        table = pq.read_table(dataset(path, first, last, slope=1.0))
        label = table.column("label").to_numpy() + np.random.default_rng(first).normal(
            size=last - first
        )
        ones = label > np.quantile(label, 1.0 - share) if share else np.zeros(len(label))
        place = table.schema.get_field_index("label")
        pq.write_table(table.set_column(place, "label", pa.array(ones * 1.0)), path)
        return path

    return written


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


def test_what_is_measured_of_an_update_has_not_learnt_the_holdout(champion, changed, tmp_path):
    table, other = pq.read_table(changed), tmp_path / "other.parquet"
    labels = table.column("label").to_numpy().copy()
    labels[-50:] += 1_000.0  # the holdout's
    place = table.schema.get_field_index("label")
    pq.write_table(table.set_column(place, "label", pa.array(labels)), other)
    one, two = (
        read_artifact(fit_candidates(job(path, champion=champion, update=True)).artifact)
        for path in (changed, other)
    )
    assert one.measured.native == two.measured.native
    assert one.model.native != two.model.native


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


@pytest.mark.parametrize(
    "name", [each for each, made in ALGORITHMS.items() if LabelKind.REGRESSION in made.kinds]
)
def test_what_is_updated_is_what_the_policy_and_the_file_take_for_it(name, learnt, changed):
    made = fit_candidates(job(learnt, candidates=(name,))).artifact
    update = job(changed, champion=made, update=True)
    if name in UPDATED:
        assert fit_candidates(update).algorithm == name
    else:
        with pytest.raises(NoCandidateError, match="only boosted trees are updated"):
            fit_candidates(update)


def test_gates_are_measured_of_an_update_too_and_leave_the_artifact_as_it_is(champion, changed):
    asked = job(changed, champion=champion, update=True)
    gates = (Gate("overfit", max=1), Gate("latency_us", max=1), Gate("mae", better_than="baseline"))
    measured, plain = fit_candidates(replace(asked, gates=gates)), fit_candidates(asked)

    assert measured.metrics.keys() - plain.metrics.keys() == {"overfit", "latency_us"}
    assert measured.evidence.baseline.better_probability > 0.99
    assert plain.evidence.baseline is None
    assert measured.artifact == plain.artifact


@pytest.mark.parametrize("kind", ["xgboost", "online_logistic"])
def test_an_update_weighs_rare_classes_as_its_champion_did(kind, rare, tmp_path):
    """One label of 20 is 1: without weights every answer of an update would sink to that."""
    asked = job(
        rare(tmp_path / "old.parquet", 0, 2_000),
        label_kind=LabelKind.BINARY,
        candidates=(kind,),
        train_on_last=5_000,
        options=Options(balance=True),
    )
    full = fit_candidates(asked)
    new = rare(tmp_path / "new.parquet", 2_000, 3_500)
    update = fit_candidates(replace(asked, dataset=new, champion=full.artifact, update=True))

    means = []
    for result in (full, update):
        scorer = load_scorer(read_artifact(result.artifact))
        numbers = np.random.default_rng(5).normal(size=(500, 2))
        means.append(float(scorer.score(numbers, [()] * 500).values.mean()))
    assert means[1] > 0.7 * means[0]


@pytest.mark.parametrize("gate", ["leak", "overfit", "noise_drop"])
def test_an_update_of_rows_that_are_all_of_one_class_is_measured_like_others(gate, rare, tmp_path):
    asked = job(rare(tmp_path / "old.parquet", 0, 600), label_kind=LabelKind.BINARY)
    full = fit_candidates(asked)
    calm = rare(tmp_path / "new.parquet", 600, 900, share=0.0)
    gates = (Gate(gate, max=1),)
    update = fit_candidates(
        replace(asked, dataset=calm, champion=full.artifact, update=True, gates=gates)
    )

    assert update.metrics["accuracy"] > 0.9


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
