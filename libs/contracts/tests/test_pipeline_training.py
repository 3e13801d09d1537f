"""The file's `training` section."""

import pytest

from millrace_contracts.pipeline_file import (
    PipelineFileError,
    pipeline_digest,
    pipeline_from_json,
    pipeline_to_json,
    read_pipeline,
)

FILE = """
metadata: {name: bikes}
spec:
  event:  {id: id, time: at}
  fields: {temp: float, weather: category}
  label:  {field: cnt, kind: regression}
"""
ON_MAIN = f"{FILE}  training: {{cluster: main}}\n"


@pytest.mark.parametrize(
    "named",
    ["main", "gpu-2", "tcp://10.0.0.5:8786", "tls://dask.example.org:8786", "tcp://[::1]:1"],
)
def test_a_cluster_is_named_or_given_by_its_address(named):
    found = read_pipeline(f'{FILE}  training: {{cluster: "{named}"}}')

    assert found.training.cluster == named
    assert pipeline_from_json(pipeline_to_json(found)) == found


def test_a_file_without_a_cluster_stays_what_it_was():
    plain = read_pipeline(FILE)

    assert plain.training.cluster is None
    assert '"training"' not in pipeline_to_json(plain)
    assert pipeline_digest(plain) == pipeline_digest(read_pipeline(f"{FILE}  training: {{}}"))
    assert pipeline_digest(plain) != pipeline_digest(read_pipeline(ON_MAIN))


@pytest.mark.parametrize(
    "wrong",
    ["Main", "http://dask:8786", "tcp://dask", "tcp://dask:8786/x", "a b", "''", "[main]", "8786"],
)
def test_what_is_no_cluster_is_refused(wrong):
    with pytest.raises(PipelineFileError, match=r"training\.cluster"):
        read_pipeline(f"{FILE}  training: {{cluster: {wrong}}}")


@pytest.mark.parametrize(
    ("section", "where", "what"),
    [
        (
            "model: {candidates: [xgboost, linear]}",
            "model.candidates",
            "linear does not learn on a cluster",
        ),
        (
            "model: {candidates: [sklearn.linear_model.Ridge]}",
            "model.candidates",
            "does not learn on a cluster",
        ),
        (
            "model: {quantiles: [0.1, 0.5, 0.9]}",
            "model.quantiles",
            "does not go with training.cluster",
        ),
        ("model: {interval: 0.9}", "model.interval", "does not go with training.cluster"),
        ("retraining: {on: [drift, update]}", "retraining.on", "says update"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused_when_the_file_is_applied(section, where, what):
    read_pipeline(f"{FILE}  {section}\n")

    with pytest.raises(PipelineFileError) as refused:
        read_pipeline(f"{ON_MAIN}  {section}\n")

    assert where in str(refused.value)
    assert what in str(refused.value)


def test_free_text_is_refused_on_a_cluster():
    free = ON_MAIN.replace("weather: category", "weather: text")

    with pytest.raises(PipelineFileError, match="free text, which is not learnt on a cluster"):
        read_pipeline(free)


def test_calibration_is_refused_on_a_cluster_and_none_is_not():
    binary = ON_MAIN.replace("kind: regression", "kind: binary")

    assert read_pipeline(f"{binary}  model: {{calibration: none}}\n").training.cluster == "main"
    with pytest.raises(PipelineFileError, match=r"model\.calibration"):
        read_pipeline(f"{binary}  model: {{calibration: platt}}\n")
