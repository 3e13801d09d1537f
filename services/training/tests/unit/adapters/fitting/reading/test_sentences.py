"""Models that read free text by a sentence encoder: it travels in the artifact, which alone is enough to answer."""

import hashlib
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_artifacts.artifact import read_artifact, write_artifact
from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.explain import load_explainer
from millrace_artifacts.scorer import load_measured, load_scorer
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, NoCandidateError
from millrace_training.adapters.fitting.options import Options, options_of
from millrace_training.adapters.fitting.reading.sentences import with_encoder

ROWS = 300
ENCODER = runpy.run_path(
    str(Path(__file__).parents[7] / "examples" / "reviews" / "make_encoder.py")
)["encoder_of"]
# words that a few reviews never show are known to the encoder all the same
VECTORS = {
    "great": (1.0, 0.1),
    "lovely": (0.9, -0.1),
    "superb": (1.1, 0.0),
    "awful": (-1.0, 0.1),
    "broken": (-0.9, -0.1),
    "dreadful": (-1.1, 0.0),
    "bike": (0.0, 1.0),
    "bell": (0.0, -1.0),
}
FILE = """
metadata: {name: reviews}
spec:
  event: {id: id, time: at}
  fields: {review: text}
  label: {field: content, kind: binary}
  model: {text: {encoder: ENCODER}}
"""
FRESH = """
import sys
import numpy as np
from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.scorer import load_scorer
scorer = load_scorer(read_artifact(sys.stdin.buffer.read()))
asked = [("a superb bell",), ("the bike was dreadful",)]
print(scorer.score(np.zeros((2, 0)), asked).values.tolist())
"""


@pytest.fixture
def a_job(tmp_path):
    def build(candidate="logistic", **changes) -> FitJob:
        random = np.random.default_rng(5)
        content = random.random(ROWS) < 0.5
        moods = np.where(content, *(random.choice(words, ROWS) for words in (GOOD, BAD)))
        things = random.choice(["bike", "bell"], ROWS)
        path = tmp_path / "dataset.parquet"
        table = {
            "event_id": [f"event-{number}" for number in range(ROWS)],
            "event_time_us": pa.array(np.arange(ROWS) * 3_600_000_000),
            "numbers": pa.array([[]] * ROWS, pa.list_(pa.float64())),
            "categories": pa.array([[f"{a} {b}"] for a, b in zip(moods, things, strict=True)]),
            "label": content * 1.0,
        }
        pq.write_table(pa.table(table), path)
        options = Options(
            encoded_columns=("review",), encoded_by="words.onnx", encoder=ENCODER(VECTORS)
        )
        columns = (), ("review",)
        given = {"options": options} | changes
        return FitJob(
            "reviews", 1, LabelKind.BINARY, *columns, (candidate,), path, 240, 60, **given
        )

    return build


GOOD, BAD = ["great", "lovely"], ["awful", "broken"]


@pytest.mark.parametrize("candidate", ["logistic", "xgboost"])
def test_what_the_encoder_knows_of_words_is_known_of_those_never_seen(a_job, candidate):
    job = a_job(candidate)
    result = fit_candidates(job)
    assert result.metrics["accuracy"] == 1.0
    artifact = read_artifact(result.artifact)
    [column] = artifact.signature.texts
    assert artifact.model.encoder == job.options.encoder
    assert column.encoder == hashlib.sha256(job.options.encoder).hexdigest()
    assert column.buckets == 2
    said = subprocess.run(
        [sys.executable, "-c", FRESH],
        input=result.artifact,
        capture_output=True,
        check=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    good, bad = msgspec.json.decode(said.stdout)
    assert good > 0.9 > 0.1 > bad
    measured = load_measured(artifact).score(np.zeros((1, 0)), [("superb",)]).values
    assert measured[0] > 0.9
    explained = load_explainer(artifact).explain(np.zeros((1, 0)), [("superb",)])
    assert explained.contributions.shape == (1, 1, 1)


def test_equal_jobs_give_equal_artifacts_and_another_encoder_another_one(a_job):
    job = a_job()
    assert fit_candidates(job).artifact == fit_candidates(job).artifact
    other = replace(job.options, encoder=ENCODER(VECTORS | {"bike": (0.5, 1.0)}))
    assert fit_candidates(replace(job, options=other)).artifact != fit_candidates(job).artifact


def test_a_champion_with_another_encoder_is_compared_by_its_own(a_job):
    job = a_job()
    blind = replace(job.options, encoder=ENCODER({"and": (1.0, 2.0), "or": (2.0, 1.0)}))
    champion = fit_candidates(replace(job, options=blind))
    result = fit_candidates(replace(job, champion=champion.artifact))
    assert result.champion_metrics["accuracy"] < 0.8
    assert result.better_probability > 0.99


def test_an_artifact_with_another_encoder_is_refused(a_job):
    artifact = read_artifact(fit_candidates(a_job()).artifact)
    assert read_artifact(write_artifact(artifact)) == artifact
    for encoder in (None, ENCODER(VECTORS | {"bike": (0.5, 1.0)})):
        with pytest.raises(UnreadableArtifactError, match="sentence encoder"):
            replace(artifact.model, encoder=encoder)


def test_scorers_of_two_encoders_do_not_mix(a_job):
    job = a_job()
    turned = {word: (-x, y) for word, (x, y) in VECTORS.items()}
    scorers = [
        load_scorer(
            read_artifact(
                fit_candidates(
                    replace(job, options=replace(job.options, encoder=ENCODER(vectors)))
                ).artifact
            )
        )
        for vectors in (VECTORS, turned)
    ]
    for scorer in scorers:  # both have learnt what is good, each in its own numbers
        good, bad = scorer.score(np.zeros((2, 0)), [("great",), ("awful",)]).values
        assert good > 0.9 > 0.1 > bad


def options_with(folder: Path | None, name: str = "words.onnx") -> Options:
    return with_encoder(options_of(read_pipeline(FILE.replace("ENCODER", name))), folder)


def test_an_encoder_is_taken_from_its_folder(tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "words.onnx").write_bytes(b"some bytes")
    options = options_with(tmp_path, "small/words.onnx")
    assert options.encoder == b"some bytes"
    assert options.encoded_columns == ("review",)
    assert options.texts == ()


def test_from_nowhere_else(tmp_path):
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(b"secret")
    inside = tmp_path / "encoders"
    inside.mkdir()
    (inside / "words.onnx").symlink_to(outside)
    for folder in (None, inside, tmp_path / "nothing"):
        with pytest.raises(NoCandidateError, match="TRAINING_ENCODERS_DIR"):
            options_with(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder": b""}, "was not given to this fit"),
        ({"encoder": b"no model"}, "words.onnx: the sentence encoder can't be taken"),
    ],
)
def test_without_an_encoder_nothing_is_fitted(a_job, changes, said):
    job = a_job()
    with pytest.raises(NoCandidateError, match=said):
        fit_candidates(replace(job, options=replace(job.options, **changes)))


def test_an_update_asks_for_a_full_run(a_job):
    job = a_job("xgboost")
    champion = fit_candidates(job).artifact
    with pytest.raises(NoCandidateError, match="sentence encoder"):
        fit_candidates(replace(job, champion=champion, update=True))
