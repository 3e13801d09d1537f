"""Sentence encoders: what is taken, what is refused, and that an artifact's texts are read by its own."""

import gc
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from millrace_artifacts.encoder_inspection import inspect_encoder
from millrace_artifacts.errors import (
    InvalidSignatureError,
    UnreadableArtifactError,
    WrongColumnsError,
)
from millrace_artifacts.sentence_encoders import digest_of, open_encoder, opened
from millrace_artifacts.texts import TextColumn

EXAMPLE = Path(__file__).parents[3] / "examples" / "reviews" / "make_encoder.py"
VECTORS = {"good": (1.0, 0.0, 2.0), "bad": (-1.0, 0.5, 2.0), "bike": (0.0, 3.0, 1.0)}
STRINGS, FLOATS = TensorProto.STRING, TensorProto.FLOAT


@pytest.fixture(scope="module")
def content() -> bytes:
    return runpy.run_path(str(EXAMPLE))["encoder_of"](VECTORS)


@pytest.fixture(scope="module")
def encoder(content):
    return open_encoder(content)


def test_a_text_is_the_mean_of_its_words(encoder):
    found = encoder.encode(["Good bike", "BAD", "nothing of it", "", "good good bad"])
    assert encoder.width == 3
    expected = [[0.5, 1.5, 1.5], [-1, 0.5, 2], [0, 0, 0], [0, 0, 0], [1 / 3, 1 / 6, 2]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32
    assert encoder.encode([]).shape == (0, 3)


@settings(max_examples=30)
@example(["bad \ud800 bike", "good"])
@given(
    st.lists(st.text(st.characters(exclude_characters="\0"), max_size=20), min_size=1, max_size=5)
)
def test_the_texts_beside_it_change_nothing(encoder, texts):
    alone = np.vstack([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(encoder.encode(texts), alone, rtol=1e-6, atol=1e-6)


def test_it_is_open_as_long_as_somebody_holds_it(content):
    other = content + b""
    changed = runpy.run_path(str(EXAMPLE))["encoder_of"](VECTORS | {"good": (9.0, 9.0, 9.0)})
    held = open_encoder(changed)
    assert open_encoder(bytes(changed)) is held
    assert opened(digest_of(changed)) is held
    column = TextColumn.encoded("review", held)
    assert column.encode(["good"]).tolist() == [[9.0, 9.0, 9.0]]
    del held
    gc.collect()
    with pytest.raises(WrongColumnsError, match="is not open"):
        column.encode(["good"])
    assert open_encoder(other).width == 3


def a_graph(*nodes, inputs=(("text", STRINGS, [None]),), outputs=(("out", FLOATS, [None, 1]),)):
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [
            numpy_helper.from_array(np.ones((1, 1), dtype=np.float32), "one"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 9
    return model


def lengths_of(*more) -> onnx.ModelProto:
    """How many words a text has."""
    return a_graph(
        helper.make_node("StringSplit", ["text"], ["words", "count"]),
        helper.make_node("Cast", ["count"], ["number"], to=FLOATS),
        helper.make_node("Unsqueeze", ["number", "axis"], ["out"]),
        *more,
    )


def test_a_graph_of_ones_own_is_taken():
    encoder = open_encoder(lengths_of().SerializeToString())
    assert encoder.encode(["a b c", "", "d"]).tolist() == [[3.0], [0.0], [1.0]]


def test_one_whose_answer_hangs_on_its_neighbours_is_refused():
    model = a_graph(
        helper.make_node("StringSplit", ["text"], ["words", "count"]),
        helper.make_node("Cast", ["count"], ["number"], to=FLOATS),
        helper.make_node("ReduceMax", ["number"], ["most"], keepdims=1),
        helper.make_node("Add", ["number", "most"], ["sum"]),
        helper.make_node("Unsqueeze", ["sum", "axis"], ["out"]),
    )
    with pytest.raises(UnreadableArtifactError, match="depends on the texts beside it"):
        open_encoder(model.SerializeToString())


def inner() -> onnx.GraphProto:
    node = helper.make_node("Identity", ["x"], ["y"])
    value = helper.make_tensor_value_info("y", FLOATS, [None, 1])
    return helper.make_graph([node], "inner", [], [value])


def external() -> onnx.ModelProto:
    model = lengths_of()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    return model


def with_function() -> onnx.ModelProto:
    model = lengths_of()
    model.functions.add(name="f", domain="")
    return model


REFUSED = [
    (lengths_of(helper.make_node("If", ["one"], ["z"], then_branch=inner())), "holds a graph"),
    (lengths_of(helper.make_node("Scan", ["one"], ["z"])), "the operator 'Scan'"),
    (
        lengths_of(helper.make_node("Tokenizer", ["text"], ["z"], domain="ai.onnx.contrib")),
        "'Tokenizer' of 'ai.onnx.contrib'",
    ),
    (lengths_of(helper.make_node("Identity", ["one"], ["z"], body=inner())), "holds a graph"),
    (external(), "in another file"),
    (with_function(), "functions"),
    (a_graph(), "0 nodes"),
]


@pytest.mark.parametrize(("model", "said"), REFUSED)
def test_what_could_do_more_than_read_a_text_is_refused(model, said):
    with pytest.raises(UnreadableArtifactError, match=f"sentence encoder can't be taken.*{said}"):
        inspect_encoder(model.SerializeToString())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            a_graph(
                helper.make_node("Identity", ["x"], ["out"]), inputs=[("x", FLOATS, [None, 1])]
            ),
            r"eats \['tensor\(float\)'\]",
        ),
        (
            a_graph(
                helper.make_node("StringSplit", ["text"], ["words", "out"]),
                outputs=[("out", TensorProto.INT64, [None])],
            ),
            r"gives int64 \[3\] for 3 texts",
        ),
        (
            a_graph(helper.make_node("Identity", ["one"], ["out"])),
            r"gives float32 \[1, 1\] for 3 texts",
        ),
    ],
)
def test_what_does_not_give_rows_of_floats_is_refused(model, said):
    with pytest.raises(UnreadableArtifactError, match=said):
        open_encoder(model.SerializeToString())


def test_what_is_no_model_is_refused():
    with pytest.raises(UnreadableArtifactError, match="can't be taken"):
        open_encoder(b"no model at all")


def test_a_column_is_hashed_or_encoded(encoder):
    with pytest.raises(InvalidSignatureError, match="hashed too"):
        replace(TextColumn.encoded("review", encoder), words=(1, 2))
