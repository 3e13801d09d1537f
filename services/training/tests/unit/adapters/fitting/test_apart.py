"""Columns that no model looks at: they part rows for the gates, and are in nothing that a model eats or says."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_artifacts.artifact import read_artifact
from millrace_kernel.pipeline import Gate, LabelKind
from millrace_training.adapters.fitting.algorithms.estimators import ALGORITHMS
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, NoCandidateError, for_models
from millrace_training.adapters.fitting.options import Options
from millrace_training.adapters.fitting.reading.rows import read_rows, split_rows

ROWS = 300
FAIR = Gate("demographic_parity", max=0.1, by="sex", rows=1)
BY_AGE = Gate("accuracy", min=0.5, by="age", rows=1)
NETWORK = "sklearn.neural_network.MLPClassifier"  # it has weights for every column, learnt or not
QUICK = Options(parameters={NETWORK: {"max_iter": 2000, "hidden_layer_sizes": 4}})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("apart") / "rows.parquet"
    random = np.random.default_rng(1)
    x, age = random.normal(size=ROWS), random.integers(18, 80, ROWS).astype(float)
    sex, job = random.choice(["f", "m"], ROWS), random.choice(["clerk", "nurse"], ROWS)
    label = (x + (sex == "m") + (age > 40) + random.normal(size=ROWS) * 0.3 > 1) * 1.0
    table = {
        "event_id": [f"{number:04d}" for number in range(ROWS)],
        "event_time_us": np.arange(ROWS, dtype=np.int64) * 1_000_000,
        "numbers": np.column_stack([age, x]).tolist(),
        "categories": np.column_stack([sex, job]).tolist(),
        "label": pa.array(label),
    }
    pq.write_table(pa.table(table), path)
    return path


def a_job(path, *candidates, **changed) -> FitJob:
    fields = {"unlearnt": ("age", "sex"), "gates": (FAIR, BY_AGE), "options": QUICK} | changed
    candidates = candidates or ("logistic",)
    columns = ("age", "x"), ("sex", "job")
    return FitJob("loans", 1, LabelKind.BINARY, *columns, candidates, path, 250, 60, **fields)


def test_they_stand_apart_and_follow_their_rows(dataset):
    asked = a_job(dataset)
    job = for_models(asked)
    rows, whole = read_rows(job), read_rows(asked)

    assert (job.numbers, job.categories, job.unlearnt) == (("x",), ("job",), ())
    assert rows.apart.keys() == {"age", "sex"}
    holdout, same = split_rows(rows, job).holdout, split_rows(whole, asked).holdout
    assert holdout.numbers.tolist() == same.numbers[:, 1:].tolist()
    assert holdout.apart["age"].tolist() == same.numbers[:, 0].tolist()
    assert holdout.apart["sex"].tolist() == same.categories[:, 0].tolist()
    assert for_models(job) == job


BINARY = sorted(name for name, each in ALGORITHMS.items() if LabelKind.BINARY in each.kinds)


@pytest.mark.parametrize("kind", [*BINARY, NETWORK])
def test_no_kind_of_model_is_given_them(kind, dataset):
    """A kind that has weights for every column would answer otherwise for other values, though it learnt nothing of them."""
    result = fit_candidates(a_job(dataset, kind))
    artifact = read_artifact(result.artifact)
    eaten = {
        (m.signature.numbers, m.signature.categories) for m in (artifact.model, artifact.measured)
    }

    assert eaten == {(("x",), ("job",))}
    assert (result.evidence.schema.numbers, result.evidence.schema.categories) in eaten
    told = json.loads(result.reference_profile)
    assert {column["name"] for column in told["columns"]} == {"x", "job"}


def test_the_rows_are_parted_by_them_all_the_same(dataset):
    slices = fit_candidates(a_job(dataset)).evidence.slices

    assert {(each.by, each.value) for each in slices if each.by == "sex"} == {
        ("sex", "f"),
        ("sex", "m"),
    }
    assert len([each for each in slices if each.by == "age"]) == 4  # quarters
    assert sum(each.rows for each in slices) == 2 * 60
    shares = {each.value: each.metrics["positive_share"] for each in slices if each.by == "sex"}
    assert shares["f"] > 0


def test_a_search_never_sees_them_either(dataset):
    trials = fit_candidates(a_job(dataset, "xgboost", trials=11)).trials

    assert len(trials) == 11
    assert not any({"age", "sex"} & {*(trial.winner.without)} for trial in trials)


def test_a_leak_is_looked_for_in_what_is_learnt(dataset):
    scores = fit_candidates(a_job(dataset, gates=(Gate("leak", max=1.0),))).evidence.column_scores

    assert scores.keys() == {"x", "job"}


def test_a_champion_that_was_given_them_is_still_compared(dataset):
    """The file says learn: false since; until something better is promoted, what learnt the column answers."""
    champion = fit_candidates(a_job(dataset, unlearnt=())).artifact
    result = fit_candidates(a_job(dataset, champion=champion))
    alone = fit_candidates(a_job(dataset, unlearnt=(), champion=champion))

    assert result.champion_metrics == alone.champion_metrics
    assert result.champion_metrics["log_loss"] < result.metrics["log_loss"]
    assert not [note for note in result.notes if "not compared" in note]


def test_a_champion_that_was_given_them_is_not_updated(dataset):
    """Its trees look at them, and more trees would not change that."""
    champion = fit_candidates(a_job(dataset, "xgboost", unlearnt=())).artifact

    with pytest.raises(NoCandidateError, match="other columns"):
        fit_candidates(a_job(dataset, champion=champion, update=True))


def test_a_champion_for_which_a_column_was_a_category_is_not_compared_by_its_numbers(dataset):
    champion = fit_candidates(a_job(dataset, unlearnt=())).artifact
    renamed = a_job(dataset, champion=champion, unlearnt=(), gates=())
    renamed = replace(renamed, numbers=("sex", "x"), categories=("age", "job"))
    result = fit_candidates(renamed)

    assert result.champion_metrics == {}
    assert any("needs the columns ['age', 'sex']" in note for note in result.notes)
