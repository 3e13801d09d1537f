"""The explaining process: what it says and keeps, on streams; the process itself is run by serving's tests."""

import io

import msgspec
import numpy as np
import pytest

from millrace_artifacts.artifact import write_artifact
from millrace_artifacts.explain import Explained, Explainer, Space
from millrace_artifacts.explaining import (
    HEAD_BYTES,
    LONGEST,
    Explainers,
    Question,
    Reply,
    framed,
    length_of,
    serve,
)

DIGEST = "a" * 64


class Explanation:
    """Each column's share is its value."""

    space, base = Space.VALUE, np.array([0.5])

    def contributions(self, matrix):
        return matrix[:, :, np.newaxis].astype(np.float64)


@pytest.fixture
def loads(monkeypatch, an_artifact):
    """Loading is counted, and makes the explanation above."""
    loaded = []

    def load(artifact):
        loaded.append(artifact)
        return Explainer(artifact.signature, Explanation())

    monkeypatch.setattr("millrace_artifacts.explaining.load_explainer", load)
    return loaded


def question(digest=DIGEST, artifact=None, numbers=((1.0, 2.0), (3.0, float("nan")))):
    matrix = np.array(numbers)
    categories = [("rain",)] * len(matrix)
    return Question(digest, len(matrix), matrix.tobytes(), categories, artifact)


def test_an_artifact_is_asked_for_once_and_then_kept(loads, an_artifact):
    explainers, content = Explainers(), write_artifact(an_artifact())

    assert explainers.answer(question()).wants_artifact
    first = explainers.answer(question(artifact=content))
    second = explainers.answer(question())

    assert len(loads) == 1
    assert first == second
    explained = first.explained(2)
    assert isinstance(explained, Explained)
    np.testing.assert_array_equal(explained.base, [0.5])
    np.testing.assert_array_equal(
        explained.contributions[:, :, 0], [[1.0, 2.0, 1.0], [3.0, np.nan, 1.0]]
    )


def test_only_so_many_are_kept_and_the_one_longest_unasked_goes_first(loads, an_artifact):
    explainers, content = Explainers(most=2), write_artifact(an_artifact())
    for digest in ("a", "b"):
        explainers.answer(question(digest, content))
    explainers.answer(question("a"))
    explainers.answer(question("c", content))

    wanted = [explainers.answer(question(digest)).wants_artifact for digest in ("a", "b", "c")]

    assert wanted == [False, True, False]


def test_what_goes_wrong_is_told_and_the_next_question_is_answered(loads, an_artifact):
    explainers, content = Explainers(), write_artifact(an_artifact())

    damaged = explainers.answer(question(artifact=b"no zip"))
    misshapen = explainers.answer(question(artifact=content, numbers=((1.0, 2.0, 3.0),)))
    strange = explainers.answer(Question(DIGEST, 2, b"123", [], None))

    assert "not a readable zip" in damaged.problem
    assert "the model needs" in misshapen.problem
    assert "can't be explained: ValueError" in strange.problem
    assert explainers.answer(question()).space == "value"


def test_questions_are_answered_in_order_until_the_stream_ends():
    asked = [question(digest) for digest in ("a", "b")]
    source = io.BytesIO(b"".join(map(framed, asked)) + b"\x00\x00")  # and is cut off
    target = io.BytesIO()

    serve(source, target, lambda question: Reply(problem=question.digest))

    content, found = target.getvalue(), []
    while content:
        length = length_of(content[:HEAD_BYTES])
        found.append(msgspec.msgpack.decode(content[HEAD_BYTES : HEAD_BYTES + length], type=Reply))
        content = content[HEAD_BYTES + length :]
    assert [reply.problem for reply in found] == ["a", "b"]


def test_a_length_that_no_message_has_is_refused():
    assert length_of((LONGEST).to_bytes(4, "big")) == LONGEST
    with pytest.raises(ValueError, match="at most"):
        length_of((LONGEST + 1).to_bytes(4, "big"))
