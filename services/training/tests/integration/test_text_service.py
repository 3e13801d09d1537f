"""Free text through the whole service: staged, kept in the lake, learnt from, and made again to the bit."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.scorer import load_scorer
from millrace_kernel.ids import PipelineName, RunId
from millrace_kernel.time import MINUTE, Instant
from millrace_proto.v1 import features_pb2, labels_pb2
from millrace_testkit.eventually import eventually, running
from millrace_training.bootstrap import reproduction

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
ROWS = 70
EXAMPLE = Path(__file__).parents[4] / "examples" / "reviews" / "make_encoder.py"
VECTORS = {"lovely": (1.0, 0.2), "awful": (-1.0, 0.1), "bike": (0.1, 1.0), "superb": (1.1, 0.3)}
FILE = """
metadata: {name: bikes}
spec:
  event: {id: id, time: timestamp}
  fields: {review: text}
  label: {field: content, kind: KIND}
  model: {CANDIDATES train_on: {last: 200, first: 60}, holdout: {last: 20}, text: TEXT}
"""
ASKED = "A LOVELY bike, ☕ included"
CASES = {
    "hashed": ("binary", "candidates: [logistic],", "{words: [1, 1], buckets: 256}"),
    "encoded": ("binary", "candidates: [logistic],", "{encoder: small/words.onnx}"),
    "in words": ("text", "", "{words: [1, 1], buckets: 256}"),
}


def file_of(kind: str, candidates: str, text: str) -> str:
    file = FILE.replace("KIND", kind).replace("CANDIDATES", candidates)
    return file.replace("TEXT", text)


async def send_rows(neighbours, kind: str) -> None:
    for number in range(ROWS):
        good = number % 2 == 0
        at = Instant(1_772_323_200_000_000 + number * 60 * MINUTE)
        event_id = f"e{number:05d}"
        review = "Lovely bike, ☕ included" if good else "an awful bike"
        await neighbours.send(
            features_pb2.FeaturesComputed(
                pipeline="bikes",
                pipeline_version=1,
                event_id=event_id,
                entity="all",
                event_time_us=at,
                categories=["" if number % 10 == 9 else review],
            ),
            at,
        )
        label = labels_pb2.LabelObserved(
            pipeline="bikes", pipeline_version=1, event_id=event_id, known_at_us=at
        )
        if kind == "text":
            label.text = "Thank you! 🙂" if good else "We are sorry."
        else:
            label.number = float(good)
        await neighbours.send(label, at)


@pytest.mark.parametrize("case", CASES)
async def test_text_is_learnt_and_the_model_made_again(neighbours, service, quick, settings, case):
    kind, *_ = CASES[case]
    path = settings.encoders / "small" / "words.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(runpy.run_path(str(EXAMPLE))["encoder_of"](VECTORS))
    async with running(*service.components(quick)):
        await neighbours.apply(file_of(*CASES[case]))
        await send_rows(neighbours, kind)
        await eventually(lambda: "TrainingCompleted" in neighbours.names(), within=300)
    path.unlink()  # what was learnt from it needs it no more
    [(completed, _)] = await neighbours.hears("TrainingCompleted")
    content = service.vault.store.get(completed.artifact_uri, completed.artifact_sha256)
    artifact = read_artifact(content)
    assert (artifact.model.encoder is not None) == (case == "encoded")
    [value] = load_scorer(artifact).score(np.zeros((1, 0)), [(ASKED,)]).values
    if kind == "text":
        assert artifact.signature.classes[int(value)] == "Thank you! 🙂"
        assert {"exact_match", "rouge_l", "bleu"} <= set(completed.metrics)
        assert not completed.schema.classes
    else:
        assert value > 0.6

    again = reproduction(settings, PipelineName("bikes"), RunId(completed.run_id))
    assert again.equal
    assert again.found_sha256 == completed.artifact_sha256


async def test_an_encoder_that_is_not_there_fails_the_run_with_its_name(neighbours, service, quick):
    async with running(*service.components(quick)):
        await neighbours.apply(file_of(*CASES["encoded"]))
        await send_rows(neighbours, "binary")
        [(failed, _), *_] = await neighbours.hears("TrainingFailed")
    assert "small/words.onnx, which is not in" in failed.reason
