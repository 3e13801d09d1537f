import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.pipeline import LabelKind
from millrace_serving.domain.answers import NO_ANSWER, Answer
from millrace_serving.domain.columns import Columns, Signature
from millrace_serving.domain.outputs import describe_outputs, output_tensors
from millrace_serving.domain.tensors import RequestRefusedError, describe_inputs, read_request

MIXED = Signature(Columns(("temp", "hum"), ("weather",)), LabelKind.REGRESSION)
NUMBERS = Signature(Columns(("temp", "hum"), ()), LabelKind.REGRESSION)


def tensor(name: str, data: list, datatype: str = "FP64", shape: list[int] | None = None) -> dict:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def mixed(**changes: dict) -> dict:
    inputs = {
        "temp": tensor("temp", [1.0, 2.0]),
        "hum": tensor("hum", [0.5, None], "FP32", [2, 1]),
        "weather": tensor("weather", ["rain", None], "BYTES"),
    } | changes
    return {"id": "42", "inputs": [value for value in inputs.values() if value]}


def refused(body: object, signature: Signature = MIXED) -> str:
    with pytest.raises(RequestRefusedError) as caught:
        read_request(body, signature)
    return str(caught.value)


def test_one_tensor_per_feature_in_any_order_becomes_rows_in_the_models_order():
    body = mixed()
    body["inputs"].reverse()

    request = read_request(body, MIXED)

    assert request.id == "42"
    np.testing.assert_array_equal(request.rows.numbers, [[1.0, 0.5], [2.0, np.nan]])
    assert list(request.rows.categories) == [("rain",), ("",)]


@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [
        ("FP32", [1.5, 2], [1.5, 2.0]),
        ("FP64", [1.5, None], [1.5, np.nan]),
        ("INT8", [1, -2], [1.0, -2.0]),
        ("INT64", [1, None], [1.0, np.nan]),
        ("UINT16", [1, 2], [1.0, 2.0]),
        ("BOOL", [True, False], [1.0, 0.0]),
    ],
)
def test_numbers_come_in_every_numeric_datatype(datatype, data, expected):
    request = read_request(mixed(temp=tensor("temp", data, datatype)), MIXED)

    np.testing.assert_array_equal(request.rows.numbers[:, 0], expected)


def test_a_column_may_be_nested_as_its_shape_says():
    request = read_request(mixed(temp=tensor("temp", [[1.0], [2.0]], shape=[2, 1])), MIXED)

    np.testing.assert_array_equal(request.rows.numbers[:, 0], [1.0, 2.0])


@pytest.mark.parametrize("data", [[1.0, 2.0, 3.0, 4.0], [[1.0, 2.0], [3.0, 4.0]]])
def test_one_tensor_holds_all_numbers_flat_or_nested(data):
    request = read_request({"inputs": [tensor("features", data, "FP32", [2, 2])]}, NUMBERS)

    np.testing.assert_array_equal(request.rows.numbers, [[1.0, 2.0], [3.0, 4.0]])
    assert list(request.rows.categories) == [(), ()]
    assert request.id is None


def test_a_feature_that_is_called_features_is_a_feature():
    signature = Signature(Columns(("features",), ()), LabelKind.REGRESSION)

    request = read_request({"inputs": [tensor("features", [1, 2], "INT32")]}, signature)

    np.testing.assert_array_equal(request.rows.numbers, [[1.0], [2.0]])


def test_missing_features_are_named():
    assert "missing inputs: hum, weather" in refused({"inputs": [tensor("temp", [1.0])]})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "the body must be an object"),
        ({}, "inputs must be a list"),
        ({"inputs": []}, "at least one tensor"),
        ({"inputs": [1]}, "inputs[0] must be an object"),
        ({"id": 7, "inputs": []}, "id must be a string"),
        (mixed() | {"id": "x" * 201}, "at most 200 characters"),
        (
            mixed(weather=tensor("weather", ["a", "x" * 1_001], "BYTES")),
            "more than 1000 characters",
        ),
        (
            {"inputs": [{"datatype": "FP64", "shape": [1], "data": [1.0]}]},
            "inputs[0] must have a name",
        ),
        (mixed(temp={"name": "temp", "shape": [2], "data": [1.0, 2.0]}), "must have a datatype"),
        (mixed(temp={"name": "temp", "datatype": "FP64", "shape": [2]}), "send it as JSON"),
        (mixed(temp=tensor("temp", [1.0, 2.0], shape=[0])), "greater than 0"),
        (mixed(temp=tensor("temp", [1.0, 2.0], shape=[1, 1, 2])), "the shape of 'temp'"),
        (mixed(temp=tensor("temp", [1.0, 2.0], shape=[True])), "the shape of 'temp'"),
        (mixed(temp=tensor("temp", [1.0, 2.0], shape=[3])), "has 2 values, its shape has 3"),
        (
            mixed(temp=tensor("temp", [[1.0], [2.0, 3.0]], shape=[2, 1])),
            "not every row has 1 values",
        ),
        (mixed(temp=tensor("temp", [1.0, 2.0, 3.0, 4.0], shape=[2, 2])), "shape [n] or [n, 1]"),
        (mixed(temp=tensor("temp", [1.0])), "same number of rows"),
        (mixed(temp=tensor("temp", ["1.0", 2.0])), "its data holds '1.0'"),
        (mixed(temp=tensor("temp", [True, 2.0])), "its data holds 'True'"),
        (mixed(temp=tensor("temp", [1.5, 2], "INT32")), "its data holds '1.5'"),
        (mixed(temp=tensor("temp", [10**400, 2.0])), "beyond FP64"),
        (mixed(temp=tensor("temp", ["a", "b"], "BYTES")), "'temp' is a number"),
        (mixed(weather=tensor("weather", [1.0, 2.0])), "'weather' is a category: send BYTES"),
        (mixed(weather=tensor("weather", ["a", 2], "BYTES")), "its data holds '2'"),
        (mixed(wind=tensor("wind", [1.0, 2.0])), "unknown inputs: wind"),
        ({"inputs": [tensor("temp", [1.0]), tensor("temp", [1.0])]}, "given twice"),
        ({"inputs": [tensor("features", [1.0, 2.0], shape=[1, 2])]}, "the categories weather"),
        (
            mixed() | {"outputs": [{"name": "class"}]},
            "there is no output 'class'; this regression model has value",
        ),
        (mixed() | {"outputs": {"name": "value"}}, "outputs must be a list"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(body, words):
    assert words in refused(body)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([tensor("features", [1.0, 2.0, 3.0], shape=[1, 3])], "[n, 2]"),
        ([tensor("features", [1, 2], "INT64", [1, 2])], "FP32 or FP64"),
        ([tensor("features", [1.0, 2.0], shape=[1, 2]), tensor("temp", [1.0])], "not both"),
    ],
)
def test_a_wrong_matrix_is_told_what_is_wrong(inputs, words):
    assert words in refused({"inputs": inputs}, NUMBERS)


strange = st.sampled_from([None, 0, -1, 1.5, True, "", [], {}, [[]], [[1.0], 2.0]])
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["temp", "hum", "weather", "features"]) | strange,
        "datatype": st.sampled_from(["FP64", "BYTES", "INT8"]) | strange,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | strange,
        "data": st.lists(st.floats(allow_nan=False) | st.sampled_from(["", "a", None]), max_size=3)
        | strange,
    },
)


@given(
    body=st.fixed_dictionaries(
        {"inputs": st.lists(tensors, max_size=3)}, optional={"id": strange, "outputs": strange}
    )
)
def test_whatever_is_sent_is_read_or_refused(body):
    try:
        request = read_request(body, MIXED)
    except RequestRefusedError:
        return
    assert request.rows.numbers.shape == (len(request.rows), 2)


def test_outputs_of_a_regression():
    assert output_tensors(
        Signature(MIXED.columns, LabelKind.REGRESSION), [Answer(1.5), NO_ANSWER], ()
    ) == [{"name": "value", "datatype": "FP64", "shape": [2], "data": [1.5, None]}]


def test_outputs_of_a_binary_model():
    assert output_tensors(
        Signature(MIXED.columns, LabelKind.BINARY), [Answer(0.25), Answer(0.5), NO_ANSWER], ()
    ) == [
        {"name": "probability", "datatype": "FP64", "shape": [3], "data": [0.25, 0.5, None]},
        {"name": "label", "datatype": "BOOL", "shape": [3], "data": [False, True, None]},
    ]


def test_outputs_of_a_multiclass_model():
    answers = [Answer(class_label="b", probabilities=(0.25, 0.75)), NO_ANSWER]

    assert output_tensors(
        Signature(MIXED.columns, LabelKind.MULTICLASS, ("a", "b")), answers, ()
    ) == [
        {"name": "class", "datatype": "BYTES", "shape": [2], "data": ["b", None]},
        {
            "name": "probabilities",
            "datatype": "FP64",
            "shape": [2, 2],
            "data": [0.25, 0.75, None, None],
        },
    ]


def test_only_the_requested_outputs_are_given_in_the_order_asked():
    signature = Signature(MIXED.columns, LabelKind.BINARY)
    request = read_request(mixed() | {"outputs": [{"name": "label"}]}, signature)

    given = output_tensors(signature, [Answer(0.9)], request.outputs)

    assert [one["name"] for one in given] == ["label"]


SPREAD = Signature(MIXED.columns, LabelKind.REGRESSION, (), (0.1, 0.5, 0.9), 0.8)


def test_a_regression_may_say_how_sure_it_is():
    answers = [Answer(2.0, quantiles=(1.0, 2.0, 4.0), interval=(0.5, 4.5)), NO_ANSWER]

    assert output_tensors(SPREAD, answers, ()) == [
        {"name": "value", "datatype": "FP64", "shape": [2], "data": [2.0, None]},
        {
            "name": "quantiles",
            "datatype": "FP64",
            "shape": [2, 3],
            "data": [1.0, 2.0, 4.0, None, None, None],
            "parameters": {"levels": "0.1, 0.5, 0.9"},
        },
        {
            "name": "interval",
            "datatype": "FP64",
            "shape": [2, 2],
            "data": [0.5, 4.5, None, None],
            "parameters": {"share": 0.8},
        },
    ]
    assert describe_outputs(SPREAD) == [
        {"name": "value", "datatype": "FP64", "shape": [-1]},
        {"name": "quantiles", "datatype": "FP64", "shape": [-1, 3]},
        {"name": "interval", "datatype": "FP64", "shape": [-1, 2]},
    ]
    wanted = read_request(mixed() | {"outputs": [{"name": "interval"}]}, SPREAD).outputs
    assert [each["name"] for each in output_tensors(SPREAD, answers, wanted)] == ["interval"]


def test_metadata_names_every_tensor():
    signature = Signature(MIXED.columns, LabelKind.MULTICLASS, ("a", "b", "c"))

    assert describe_inputs(signature.columns) == [
        {"name": "temp", "datatype": "FP64", "shape": [-1]},
        {"name": "hum", "datatype": "FP64", "shape": [-1]},
        {"name": "weather", "datatype": "BYTES", "shape": [-1]},
    ]
    assert describe_outputs(signature) == [
        {"name": "class", "datatype": "BYTES", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, 3]},
    ]
