"""A column that must not be learnt and must be looked at, from the file to the answers: `learn: false`."""

from dataclasses import replace

import numpy as np
import pytest
from tests.gates.candidates import ROWS, judged, pipeline, run, trained, world

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.explain import load_explainer
from millrace_artifacts.scorer import load_scorer
from millrace_kernel.ids import EntityId, EventId, ModelVersionNumber
from millrace_kernel.profile import profile_from_json
from millrace_kernel.time import Instant
from millrace_monitoring.domain.windows import reference_of
from millrace_serving.adapters.engine import ArtifactModel
from millrace_serving.application.deployments import Deployment
from millrace_serving.application.handlers import predictions_of
from millrace_serving.domain.champions import Champion
from millrace_serving.domain.columns import Columns
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.domain.events import FeaturesComputed, Role
from millrace_serving.domain.tensors import describe_inputs, read_request
from millrace_training.adapters.cards.job import About, CardJob
from millrace_training.adapters.cards.make import make_card
from millrace_training.adapters.running.records import fit_job

LEARNT = ("income", "debt", "age", "settled", "job")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("apart")


@pytest.fixture(scope="module")
def unfair(folder):
    """Income stands for sex: a model that has never seen the one treats it differently by the other."""
    data, random = world(), np.random.default_rng(3)
    income = data.income + np.where(data.sex == "m", 0.7, -0.7)
    logit = 2.0 * income - 1.5 * data.debt + random.logistic(size=ROWS)
    return trained(pipeline(), replace(data, income=income, repaid=(logit > 0) * 1.0), folder)


@pytest.fixture(scope="module")
def deployment(unfair):
    model = ArtifactModel(load_scorer(read_artifact(unfair.artifact)), "onnxruntime_onnx", 0)
    champion = Champion(
        "loans", 1, ModelVersionNumber(1), 1, "file:///a", "0" * 64, "run-1", b"", ""
    )
    return Deployment(champion, model)


def test_the_gate_sees_what_the_model_has_never_seen(unfair):
    verdict = judged(pipeline(), unfair)["parity"]

    assert not verdict.passed
    assert "sex 'f'" in verdict.evidence
    schema = unfair.evidence.schema
    assert (*schema.numbers, *schema.categories) == LEARNT


def test_the_streams_vectors_bring_it_and_no_answer_depends_on_it(deployment):
    def vector(sex: str, region: str) -> FeaturesComputed:
        happened = "loans", 1, EventId("e1"), EntityId("a1"), Instant(0)
        return FeaturesComputed(*happened, (0.3, -0.2, 40.0, 0.1), ("nurse", region, sex))

    vectors = [vector(sex, region) for sex in ("f", "m", "") for region in ("north", "west")]
    made = predictions_of(deployment, Columns.of(pipeline()), vectors, Role.CHAMPION)

    assert len({each.answer for each in made}) == 1
    assert made[0].vector.categories == ("nurse", "north", "f")  # it is told with the answer


def test_a_request_need_not_and_may_not_bring_it(deployment):
    signature = deployment.model.signature
    asked = [each["name"] for each in describe_inputs(signature.columns)]
    inputs = [{"name": name, "datatype": "FP64", "shape": [1], "data": [0.5]} for name in asked[:4]]
    inputs.append({"name": "job", "datatype": "BYTES", "shape": [1], "data": ["nurse"]})
    sex = {"name": "sex", "datatype": "BYTES", "shape": [1], "data": ["f"]}

    assert tuple(asked) == LEARNT
    assert len(read_request({"inputs": inputs}, signature).rows) == 1
    with pytest.raises(RequestRefusedError, match="unknown inputs: sex"):
        read_request({"inputs": [*inputs, sex]}, signature)


def test_no_explanation_names_it(unfair):
    explainer = load_explainer(read_artifact(unfair.artifact))
    explained = explainer.explain(np.array([[0.3, -0.2, 40.0, 0.1]]), [("nurse",)])

    assert explained.contributions.shape[1] == len(LEARNT)


def test_the_card_tells_how_good_answers_are_by_it_and_rests_nothing_on_it(unfair, folder):
    job = fit_job(run().trigger, pipeline(), folder / "dataset.parquet", threads=1)
    about = About("", "", "repaid", "run-1", 1, "first", "", "", "", "", 0)
    card = make_card(CardJob(job, unfair, about))

    assert {each.name for each in card.facts.features} == set(LEARNT)
    assert not {"sex", "region"} & {curve.name for curve in card.facts.curves}
    groups = {each.value: each for each in card.facts.slices if each.by == "sex"}
    assert groups.keys() == {"f", "m"}
    assert groups["f"].rows + groups["m"].rows == unfair.holdout_rows
    assert "region" in {each.by for each in card.facts.slices}
    assert "sex" in card.markdown


def test_drift_is_not_looked_for_in_it(unfair):
    """No training could cure it: what models are given has not moved."""
    reference = reference_of(ModelVersionNumber(1), 1, profile_from_json(unfair.reference_profile))

    assert (*reference.shape.numbers, *reference.shape.categories) == LEARNT
