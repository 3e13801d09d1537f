"""Online learners: taught label by label, kept as numbers, updated from where they stand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from millrace_artifacts.artifact import Native, NativeFormat, Runtime, read_artifact
from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.explain import UnexplainableError, load_explainer
from millrace_artifacts.scorer import load_scorer
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.online_models import (
    DEFAULTS,
    fit,
    read_state,
    taught,
)
from millrace_training.adapters.fitting.algorithms.task import Task
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob


def job(path, **changes):
    candidates = ("online_linear",)
    made = FitJob("mill", 1, LabelKind.REGRESSION, ("x", "z"), (), candidates, path, 400, 50)
    return replace(made, **changes)


def a_task(rows=200, first=0):
    generator = np.random.default_rng(5)
    matrix = generator.normal(size=(400, 2)).astype(np.float32)
    matrix[::9, 1] = np.nan
    part = slice(first, first + rows)
    return Task(matrix[part], 3.0 * matrix[part, 0].astype(float), LabelKind.REGRESSION, 0, 0, 1)


@pytest.fixture(scope="module")
def champion(learnt):
    return fit_candidates(job(learnt)).artifact


def test_an_update_goes_on_from_the_champion_and_follows_a_change(champion, changed):
    asked = job(changed, champion=champion, update=True)
    result = fit_candidates(asked)
    assert result.algorithm == "online_linear"
    assert result.metrics["mae"] < result.champion_metrics["mae"]
    artifact = read_artifact(result.artifact)
    assert artifact.model.runtime is Runtime.ONNX
    assert artifact.model.parity.holds
    load_scorer(artifact)
    before, after = (
        read_state(read_artifact(each).model.native) for each in (champion, result.artifact)
    )
    assert after.counts[0] == before.counts[0] + 300  # each new row once, the holdout's too
    assert fit_candidates(asked).artifact == result.artifact


def test_updates_stand_on_each_other(dataset, champion, changed, tmp_path):
    first = fit_candidates(job(changed, champion=champion, update=True))
    later = dataset(tmp_path / "later.parquet", 700, 1000, slope=-10.0)
    second = fit_candidates(job(later, champion=first.artifact, update=True))
    assert second.learnt_rows == 200  # those from second 800 on
    counts = [
        read_state(read_artifact(each.artifact).model.native).counts[0] for each in (first, second)
    ]
    assert counts[1] == counts[0] + 200


def test_learning_in_two_goes_is_learning_in_one():
    one_pass = DEFAULTS | {"passes": 1}
    whole = fit(a_task(400), one_pass)
    half = fit(a_task(200), one_pass)
    again = taught(read_state(half.native()), a_task(200, first=200), one_pass)
    assert again.native() == whole.native()


@pytest.mark.parametrize(
    "damage",
    [
        {"weights": [[1.0]]},
        {"weights": []},
        {"means": [float(10**308) * 1.0, "x"]},
        {"variances": [-1.0, 1.0]},
        {"kind": "what"},
        {"intercepts": []},
    ],
)
def test_numbers_that_do_not_fit_together_are_refused(damage):
    numbers = json.loads(fit(a_task(), DEFAULTS).native().content)
    damaged = json.dumps(numbers | damage).encode()
    with pytest.raises(UnreadableArtifactError, match="not an online learner's numbers"):
        read_state(Native(NativeFormat.RIVER, damaged))


def test_it_says_that_it_cannot_be_explained(champion):
    with pytest.raises(UnexplainableError, match="learns online"):
        load_explainer(read_artifact(champion))
