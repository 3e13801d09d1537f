import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import count

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_artifacts.artifact import Runtime, Speed, read_artifact
from millrace_artifacts.errors import ExamplesDifferError
from millrace_artifacts.native import load_sklearn
from millrace_artifacts.scorer import load_measured, load_scorer
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.profile import profile_from_json
from millrace_training.adapters.fitting import procedure
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, NoCandidateError, OneClassError
from millrace_training.adapters.fitting.reading.rows import read_rows, split_rows
from millrace_training.adapters.fitting.searching.recipes import Past
from millrace_training.adapters.fitting.shipping import export

FASTER = Speed(60, onnx_row_us=30.0, onnx_rows_us=300.0, native_row_us=10.0, native_rows_us=100.0)
HOUR_US = 3_600_000_000
NUMBERS = ("temp", "hum", "empty")
CATEGORIES = ("weather", "ticket")


def truth(kind, temp, hum, weather, random):
    """Hired bikes, many of them or not, or how many in words."""
    hired = 10 * temp - 5 * hum + 3 * (weather == "clear") + random.normal(0, 0.5, len(temp))
    match kind:
        case LabelKind.REGRESSION:
            return hired
        case LabelKind.BINARY:
            return (hired > 0) * 1.0
        case LabelKind.MULTICLASS:
            return np.array(["few", "some", "many"])[np.digitize(hired, [-4.0, 4.0])]


@pytest.fixture(scope="module")
def a_job(tmp_path_factory):
    folder, numbers_of_files = tmp_path_factory.mktemp("procedure"), count()

    def build(kind=LabelKind.REGRESSION, rows=400, shuffled=False, labels=None, **changes):
        random = np.random.default_rng(11)
        temp, hum = random.normal(size=rows), random.normal(size=rows)
        weather = random.choice(["clear", "fog", "rain"], rows)
        label = truth(kind, temp, hum, weather, random) if labels is None else labels
        temp[random.random(rows) < 0.02] = np.nan
        order = random.permutation(rows) if shuffled else np.arange(rows)
        numbers = np.column_stack([temp, hum, np.full(rows, np.nan)])
        tickets = [f"ticket-{number}" for number in range(rows)]
        table = {
            "event_id": [f"event-{number}" for number in order],
            "event_time_us": pa.array(order * HOUR_US),
            "numbers": pa.array(numbers[order].tolist()),
            "categories": pa.array([[weather[place], tickets[place]] for place in order]),
            "label": pa.array(np.asarray(label)[order].tolist()),
        }
        path = folder / f"{next(numbers_of_files)}.parquet"
        pq.write_table(pa.table(table), path)
        fields = {"candidates": ("xgboost",), "train_on_last": 300, "holdout_last": 60} | changes
        return FitJob("bikes", 3, kind, NUMBERS, CATEGORIES, dataset=path, **fields)

    return build


@pytest.fixture(scope="module")
def fitted(a_job):
    """The job of one kind of model, and what came of it: made once, looked at by several tests."""

    @cache
    def made(kind, algorithm):
        job = a_job(kind, candidates=(algorithm,))
        return job, fit_candidates(job)

    return made


ALL = [
    (LabelKind.REGRESSION, "xgboost"),
    (LabelKind.REGRESSION, "linear"),
    (LabelKind.REGRESSION, "random_forest"),
    (LabelKind.REGRESSION, "hist_gradient_boosting"),
    (LabelKind.REGRESSION, "k_nearest"),
    (LabelKind.REGRESSION, "online_linear"),
    (LabelKind.BINARY, "xgboost"),
    (LabelKind.BINARY, "logistic"),
    (LabelKind.BINARY, "random_forest"),
    (LabelKind.BINARY, "hist_gradient_boosting"),
    (LabelKind.BINARY, "k_nearest"),
    (LabelKind.BINARY, "online_logistic"),
    (LabelKind.MULTICLASS, "xgboost"),
    (LabelKind.MULTICLASS, "logistic"),
    (LabelKind.MULTICLASS, "random_forest"),
    (LabelKind.MULTICLASS, "hist_gradient_boosting"),
    (LabelKind.MULTICLASS, "k_nearest"),
    (LabelKind.MULTICLASS, "online_logistic"),
]


@pytest.mark.parametrize(("kind", "algorithm"), ALL)
def test_every_kind_of_model_beats_knowing_nothing_and_answers_from_its_artifact(
    fitted, kind, algorithm
):
    _, result = fitted(kind, algorithm)
    primary = profile_from_json(result.reference_profile).primary_metric
    assert result.metrics[primary] < 0.7 * result.baseline_metrics[primary]
    artifact = read_artifact(result.artifact)
    assert (artifact.algorithm, artifact.signature.numbers) == (algorithm, NUMBERS)
    assert artifact.model.parity.holds
    assert artifact.model.parity.largest_difference < 1e-4
    scores = load_scorer(artifact).score(np.array([[1.0, -1.0, 0.0]]), [("clear", "new")])
    if kind is LabelKind.MULTICLASS:
        assert artifact.signature.classes[int(scores.values[0])] == "many"
    else:
        assert scores.values[0] > (10.0 if kind is LabelKind.REGRESSION else 0.8)


@pytest.mark.parametrize(
    "algorithm",
    ["xgboost", "linear", "random_forest", "hist_gradient_boosting", "k_nearest", "online_linear"],
)
def test_the_same_job_gives_the_same_bytes_whatever_the_order_of_the_file(a_job, fitted, algorithm):
    _, one = fitted(LabelKind.REGRESSION, algorithm)
    other = fit_candidates(a_job(candidates=(algorithm,), shuffled=True))
    assert one.artifact == other.artifact
    assert one.reference_profile == other.reference_profile
    assert (one.metrics, one.parameters_json) == (other.metrics, other.parameters_json)


def test_the_metrics_are_of_the_model_that_had_not_learnt_the_holdout(a_job):
    job = a_job()
    result = fit_candidates(job)
    artifact = read_artifact(result.artifact)
    holdout = split_rows(read_rows(job), job).holdout
    scores = load_measured(artifact).score(holdout.numbers, holdout.categories.tolist())
    assert result.metrics["mae"] == pytest.approx(np.abs(scores.values - holdout.labels).mean())
    assert (result.train_rows, result.holdout_rows, result.learnt_rows) == (300, 60, 360)
    assert (artifact.learnt.rows, artifact.learnt.holdout_rows) == (360, 60)
    assert artifact.learnt.measured_until_us == 339 * HOUR_US
    assert artifact.learnt.until_us == 399 * HOUR_US


def test_what_ships_has_learnt_the_newest_rows_unless_the_job_says_otherwise(a_job):
    labels = np.concatenate([np.zeros(340), np.full(60, 100.0)])  # the world changed 60 rows ago
    shipped = read_artifact(fit_candidates(a_job(labels=labels)).artifact)
    row = np.array([[0.0, 0.0, np.nan]]), [("clear", "")]
    assert load_measured(shipped).score(*row).values[0] == pytest.approx(0.0, abs=1e-3)
    assert load_scorer(shipped).score(*row).values[0] > 1.0

    result = fit_candidates(a_job(labels=labels, refit=False))
    measured = read_artifact(result.artifact)
    assert measured.measured is None
    assert result.learnt_rows == result.train_rows == 300
    assert load_scorer(measured).score(*row).values[0] == pytest.approx(0.0, abs=1e-3)


def test_the_best_of_the_candidates_is_shipped(a_job):
    result = fit_candidates(a_job(candidates=("random_forest", "linear", "logistic")))
    losses = {trial.algorithm: trial.loss for trial in result.trials}
    assert losses.keys() == {"random_forest", "linear"}
    assert result.algorithm == min(losses, key=losses.__getitem__) == "linear"
    assert "logistic does not suit a regression label" in result.notes
    native = read_artifact(result.artifact).model.native
    assert load_sklearn(native.content).n_features_in_ == 6


def test_a_champion_like_the_candidate_is_neither_better_nor_worse(a_job):
    first = fit_candidates(a_job())
    assert (first.better_probability, first.champion_metrics) == (None, {})
    again = fit_candidates(a_job(champion=first.artifact))
    assert again.better_probability == 0.5
    assert again.champion_metrics == again.metrics


def test_a_champion_of_an_older_world_is_surely_worse_and_the_right_one_surely_not(a_job):
    right = fit_candidates(a_job(candidates=("linear",)))
    wrong = fit_candidates(a_job(labels=np.random.default_rng(1).normal(size=400)))
    job = a_job(candidates=("linear",))
    better = fit_candidates(replace(job, champion=wrong.artifact))
    assert better.better_probability > 0.99
    assert better.champion_metrics["mae"] > 5 * better.metrics["mae"]
    noise = a_job(candidates=("xgboost",), champion=right.artifact)
    assert fit_candidates(noise).better_probability < 0.05


def test_a_champion_of_fewer_columns_is_compared_and_one_of_others_is_not(a_job):
    job = a_job()
    champion = fit_candidates(job).artifact
    more = replace(job, numbers=("hum", "temp", "empty"), champion=champion)
    assert fit_candidates(more).champion_metrics
    other = fit_candidates(replace(job, numbers=("temp", "wind", "empty"), champion=champion))
    assert (other.better_probability, other.champion_metrics) == (None, {})
    assert "needs the columns ['hum']" in other.notes[-1]


def test_a_champion_that_cannot_be_read_does_not_stop_the_run(a_job):
    result = fit_candidates(a_job(champion=b"damaged"))
    assert result.better_probability is None
    assert "not compared with the champion" in result.notes[-1]


def test_what_the_champion_has_learnt_is_not_held_out_and_that_is_reported(a_job):
    champion = fit_candidates(a_job(holdout_last=30)).artifact
    result = fit_candidates(a_job(holdout_last=60, champion=champion))
    assert result.holdout_rows == 30
    assert any("the 30 oldest rows of the holdout were not held out" in n for n in result.notes)


@pytest.mark.parametrize(("kind", "algorithm"), ALL)
def test_a_fit_says_how_fast_each_form_is_where_there_is_a_choice(fitted, kind, algorithm):
    _, result = fitted(kind, algorithm)
    artifact, speed = read_artifact(result.artifact), result.speed
    if algorithm != "xgboost":
        assert speed is None
        assert artifact.model.runtime is Runtime.ONNX
        return
    assert speed.rows == 60
    assert speed.onnx_row_us < speed.onnx_rows_us < 60 * 1_000
    assert speed.native_row_us < 60 * 1_000


def test_a_native_form_that_is_much_faster_answers_and_one_that_is_a_little_faster_does_not(
    a_job, monkeypatch
):
    monkeypatch.setattr(procedure, "speed_of", lambda *_: FASTER)
    result = fit_candidates(a_job())
    artifact = read_artifact(result.artifact)
    assert FASTER.advantage == pytest.approx(3.0)
    assert artifact.model.runtime is Runtime.NATIVE
    assert artifact.measured.runtime is Runtime.ONNX
    scores = load_scorer(artifact).score(np.array([[1.0, -1.0, 0.0]]), [("clear", "new")])
    assert scores.values[0] > 10
    little = replace(FASTER, native_row_us=25.0, native_rows_us=250.0)
    monkeypatch.setattr(procedure, "speed_of", lambda *_: little)
    assert read_artifact(fit_candidates(a_job()).artifact).model.runtime is Runtime.ONNX


def test_what_a_clock_decided_once_is_not_asked_again(a_job, monkeypatch):
    monkeypatch.setattr(procedure, "speed_of", lambda *_: FASTER)
    first = fit_candidates(a_job())
    monkeypatch.setattr(procedure, "speed_of", lambda *_: pytest.fail("asked again"))
    again = fit_candidates(a_job(winner=first.winner))
    assert first.winner.prefers_native
    assert again.artifact == first.artifact


@pytest.mark.parametrize(("kind", "algorithm"), ALL)
def test_the_examples_are_many_and_of_the_edges_and_every_one_is_checked(fitted, kind, algorithm):
    job, result = fitted(kind, algorithm)
    artifact = read_artifact(result.artifact)
    examples, learnt = artifact.examples, split_rows(read_rows(job), job).both
    assert len(examples) >= 15
    given = {example.numbers[:2] for example in examples}
    assert (None, None) in given
    assert (0.0, 0.0) in given
    for corner in (np.fmin.reduce(learnt.numbers), np.fmax.reduce(learnt.numbers)):
        assert tuple(corner[:2].tolist()) in given
    newest = learnt.numbers[-4:, :2].tolist()
    assert {tuple(None if np.isnan(n) else n for n in row) for row in newest} <= given
    for place, example in enumerate(examples):
        wrong = replace(
            example,
            value=example.value + 1.0,
            probabilities=tuple(each + 0.1 for each in example.probabilities),
        )
        broken = replace(artifact, examples=(*examples[:place], wrong, *examples[place + 1 :]))
        with pytest.raises(ExamplesDifferError):
            load_scorer(broken)


def test_an_answer_far_beyond_all_others_is_no_example(fitted):
    job, result = fitted(LabelKind.REGRESSION, "linear")
    artifact = read_artifact(result.artifact)
    rows = split_rows(read_rows(job), job).both
    far = replace(rows, numbers=rows.numbers.copy())
    far.numbers[:, 0] = np.where(np.arange(len(far)) == 0, np.inf, far.numbers[:, 0])
    values = [example.value for example in export.examples_of(artifact.model, far)]
    assert np.isfinite(values).all()
    assert max(map(abs, values)) < 1e6
    load_scorer(replace(artifact, examples=export.examples_of(artifact.model, far)))


def test_where_the_onnx_form_differs_xgboost_answers_itself(a_job, monkeypatch):
    monkeypatch.setattr(export, "PARITY_TOLERANCE", -1.0)
    result = fit_candidates(a_job())
    artifact = read_artifact(result.artifact)
    assert artifact.model.runtime == artifact.measured.runtime == "native"
    scores = load_scorer(artifact).score(np.array([[1.0, -1.0, 0.0]]), [("clear", "new")])
    assert scores.values[0] > 10


def test_where_the_onnx_form_differs_others_are_left_out(a_job, monkeypatch):
    monkeypatch.setattr(export, "PARITY_TOLERANCE", -1.0)
    result = fit_candidates(a_job(candidates=("linear", "xgboost")))
    assert result.trials[0].loss < result.trials[1].loss
    assert result.algorithm == "xgboost"
    assert any("linear left out" in note for note in result.notes)
    with pytest.raises(NoCandidateError, match="add xgboost"):
        fit_candidates(a_job(candidates=("linear",)))


def test_the_profile_describes_the_learnt_columns_and_the_holdouts_predictions(a_job):
    result = fit_candidates(a_job())
    profile = profile_from_json(result.reference_profile)
    assert [column.name for column in profile.columns] == [*NUMBERS, *CATEGORIES]
    assert profile.columns[0].rows == profile.rows == result.learnt_rows
    assert profile.columns[2].missing == 1.0
    assert profile.prediction.rows == result.holdout_rows
    assert (profile.primary_metric, profile.metrics) == ("mae", result.metrics)
    chosen = fit_candidates(a_job(primary_metric="rmse")).reference_profile
    assert profile_from_json(chosen).primary_metric == "rmse"


def test_the_profile_of_classes_counts_the_predicted_ones(a_job):
    result = fit_candidates(a_job(LabelKind.MULTICLASS, candidates=("logistic",)))
    prediction = profile_from_json(result.reference_profile).prediction
    assert prediction.names == ("few", "many", "some")
    assert prediction.rows == result.holdout_rows


def test_labels_of_one_class_wait_for_another(a_job):
    with pytest.raises(OneClassError):
        fit_candidates(a_job(LabelKind.BINARY, labels=np.ones(400)))


def test_where_the_newest_part_alone_is_of_one_class_the_next_recipe_learns_all(a_job, monkeypatch):
    """As a search may find it among the older rows; as large a part of all rows is the holdout, which has one label."""
    choose = procedure.choose

    def newest_part(job, train, tell):
        choice = choose(job, train, tell)
        newest = replace(choice.ranked[0], past=Past(share=0.2))
        return replace(choice, ranked=(newest, *choice.ranked))

    monkeypatch.setattr(procedure, "choose", newest_part)
    labels = np.where(np.arange(1_500) < 1_200, np.arange(1_500) % 2, 0.0)
    one_sided = a_job(
        LabelKind.BINARY,
        rows=1_500,
        labels=labels,
        candidates=("logistic",),
        train_on_last=5_000,
        holdout_last=300,
    )
    result = fit_candidates(one_sided)

    assert result.learnt_rows == 1_500
    assert any("logistic left out, as it was chosen" in note for note in result.notes)


def test_a_class_that_only_the_holdout_has_is_learnt_by_what_ships(a_job):
    labels = np.array(["few", "some"] * 170 + ["many"] * 60)
    result = fit_candidates(a_job(LabelKind.MULTICLASS, labels=labels))
    artifact = read_artifact(result.artifact)
    assert artifact.measured.signature.classes == ("few", "some")
    assert artifact.signature.classes == ("few", "many", "some")
    assert result.metrics["accuracy"] == 0.0


def test_a_fit_runs_in_a_child_of_a_forkserver(a_job):
    job = a_job()
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        result = pool.submit(fit_candidates, job).result(timeout=100)
        with pytest.raises(OneClassError, match="wait for another"):
            pool.submit(fit_candidates, a_job(LabelKind.BINARY, labels=np.ones(400))).result(20)
    assert result.artifact == fit_candidates(job).artifact
