"""Tensors as bytes: every type there and back, and whatever bytes: values of the shape, or a refusal in words."""

# ruff: noqa: PT017  both ways out are allowed, and each keeps a law

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.pipeline import LabelKind
from millrace_serving.domain.binary import DATATYPES, Raw, decoded, encoded
from millrace_serving.domain.columns import Columns, Signature
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.domain.tensors import read_request
from millrace_serving.entrypoints.bodies import LARGEST_BODY, TooLargeError, question_of, unpacked
from millrace_serving.entrypoints.grpc_messages import question_of as asked_over_grpc
from millrace_testkit.fuzzing import effort
from open_inference_proto.open_inference_pb2 import ModelInferRequest

MIXED = Signature(Columns(("temp", "hum"), ("weather",)), LabelKind.REGRESSION)
_BOUNDS = {
    name: (np.iinfo(dtype).min, np.iinfo(dtype).max)
    for name, dtype in DATATYPES.items()
    if name.startswith(("INT", "UINT"))
}


@pytest.mark.parametrize("datatype", DATATYPES)
def test_numbers_of_every_type_come_back_as_they_went(datatype):
    low, high = _BOUNDS.get(datatype, (0, 1))
    values = np.array([low, high, 1, 0], DATATYPES[datatype])

    found = decoded(Raw(values.tobytes()), datatype, 4, "temp")

    assert found.tolist() == values.tolist()
    assert encoded(datatype, values.tolist(), "temp") == values.tobytes()


def test_the_bytes_are_little_endian():
    assert decoded(Raw(b"\1\0"), "UINT16", 1, "temp").tolist() == [1]
    assert decoded(Raw(b"\0\x3c"), "FP16", 1, "temp").tolist() == [1.0]
    assert encoded("BYTES", ["ab"], "class") == b"\2\0\0\0ab"


@effort(80)
@given(st.lists(st.text(max_size=5), max_size=6))
def test_texts_come_back_as_they_went(texts):
    assert decoded(Raw(encoded("BYTES", texts, "weather")), "BYTES", len(texts), "weather") == texts


def test_a_missing_number_is_nan_a_missing_text_is_empty_and_a_missing_truth_is_refused():
    assert np.isnan(np.frombuffer(encoded("FP64", [1.0, None], "value"), "<f8")).tolist() == [
        False,
        True,
    ]
    assert encoded("BYTES", [None], "class") == bytes(4)
    with pytest.raises(RequestRefusedError, match="row 1 has no answer"):
        encoded("BOOL", [True, None], "label")


@pytest.mark.parametrize(
    ("content", "datatype", "count", "words"),
    [
        (b"1234567", "FP64", 1, "has 7 bytes; its shape has 1 values of 8"),
        (b"", "INT8", 2**62, "has 0 bytes"),
        (b"\2", "BOOL", 1, "0 or 1"),
        (b"12", "BF16", 1, "no binary form"),
        (b"\1\0\0", "BYTES", 1, "ends before element 0"),
        (b"\2\0\0\0a", "BYTES", 1, "longer than the bytes that are left"),
        (b"\xff\xff\xff\xffa", "BYTES", 1, "longer than the bytes that are left"),
        (b"\1\0\0\0ab", "BYTES", 1, "1 bytes more"),
        (b"\1\0\0\0a", "BYTES", 2**62, "ends before element 1"),
        (b"\1\0\0\0\xff", "BYTES", 1, "UTF-8"),
    ],
)
def test_bytes_that_are_not_what_the_shape_says_are_refused(content, datatype, count, words):
    with pytest.raises(RequestRefusedError, match=words):
        decoded(Raw(content), datatype, count, "temp")


sizes = st.integers(-1, 20) | st.sampled_from([None, True, "4", 2**70, 1.0])
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["temp", "hum", "weather", "features"]),
        "datatype": st.sampled_from([*DATATYPES, "BYTES", "BF16", "", None]),
        "shape": st.lists(st.integers(-1, 3) | st.just(2**62), max_size=3),
    },
    optional={
        "parameters": st.none() | st.fixed_dictionaries({}, optional={"binary_data_size": sizes}),
        "data": st.lists(st.integers(), max_size=2),
    },
)
heads = st.fixed_dictionaries({"inputs": st.lists(tensors, max_size=3) | st.none()}) | st.lists(
    tensors
)


@effort(200)
@given(heads, st.binary(max_size=30), st.integers(-1, 400) | st.none())
def test_any_json_with_any_bytes_behind_it_is_rows_or_refused_in_words(head, content, length):
    written = json.dumps(head).encode()
    body = written + content
    try:
        question = question_of(body, len(written) if length is None or length < 0 else length)
        request = read_request(question, MIXED)
    except RequestRefusedError as error:
        assert str(error)
        return
    assert request.rows.numbers.shape == (len(request.rows), 2)
    assert all(len(row) == 1 for row in request.rows.categories)


@effort(200)
@given(st.sampled_from([*DATATYPES, "BYTES"]), st.binary(max_size=40), st.integers(1, 6))
def test_any_bytes_are_as_many_values_as_the_shape_has_or_refused(datatype, content, count):
    try:
        found = decoded(Raw(content), datatype, count, "temp")
    except RequestRefusedError as error:
        assert "temp" in str(error)
        return
    assert len(found) == count


@effort(150)
@given(st.sampled_from(["gzip", "deflate"]), st.binary(max_size=60))
def test_any_bytes_unpack_to_no_more_than_a_body_may_be_or_are_refused(encoding, content):
    try:
        assert len(unpacked(content, encoding)) <= LARGEST_BODY
    except (RequestRefusedError, TooLargeError) as error:
        assert str(error)


contents = st.fixed_dictionaries(
    {},
    optional={
        "bool_contents": st.lists(st.booleans(), max_size=3),
        "int_contents": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
        "uint64_contents": st.lists(st.integers(0, 2**64 - 1), max_size=3),
        "fp64_contents": st.lists(st.floats(), max_size=3),
        "bytes_contents": st.lists(st.binary(max_size=4), max_size=3),
    },
)
messages = st.fixed_dictionaries(
    {
        "inputs": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["temp", "hum", "weather", "features", ""]),
                    "datatype": st.sampled_from([*DATATYPES, "BYTES", "BF16", ""]),
                    "shape": st.lists(st.integers(-1, 3) | st.just(2**62), max_size=3),
                },
                optional={"contents": contents},
            ),
            max_size=3,
        )
    },
    optional={
        "raw_input_contents": st.lists(st.binary(max_size=20), max_size=3),
        "id": st.text(max_size=3),
        "outputs": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["value", "x"])})),
    },
)


@effort(200)
@given(messages)
def test_any_message_is_rows_or_refused_in_words(fields):
    message = ModelInferRequest(**fields)
    try:
        request = read_request(asked_over_grpc(message), MIXED)
    except RequestRefusedError as error:
        assert str(error)
        return
    assert request.rows.numbers.shape == (len(request.rows), 2)
    assert request.id == (message.id or None)
