"""Whatever a client sends as tensors: rows of the model's shape, or a refusal in words."""

# ruff: noqa: PT017  both ways out are allowed, and each keeps a law

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.pipeline import LabelKind
from millrace_serving.domain.columns import Columns, Signature
from millrace_serving.domain.tensors import RequestRefusedError, read_request
from millrace_testkit.fuzzing import effort

MIXED = Signature(Columns(("temp", "hum"), ("weather",)), LabelKind.REGRESSION)
NUMBERS = Signature(Columns(("temp", "hum"), ()), LabelKind.REGRESSION)
DATATYPES = [
    "FP16", "FP32", "FP64", "INT8", "INT64", "UINT64", "BOOL", "BYTES", "STRING", "", "FP128",
]  # fmt: skip
scalars = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=4)
    | st.just("x" * 2_000)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
sizes = (
    st.integers(-2, 4) | st.sampled_from([2**31, 2**32, 2**62, 2**63, 2**64, -(2**63)]) | scalars
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["temp", "hum", "weather", "features"]) | anything,
        "datatype": st.sampled_from(DATATYPES) | anything,
        "shape": st.lists(sizes, max_size=3) | anything,
        "data": st.lists(scalars, max_size=4) | st.lists(st.lists(scalars, max_size=3), max_size=3) | anything,
    }
)  # fmt: skip
bodies = anything | st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=4) | anything},
    optional={"id": anything, "outputs": anything, "parameters": anything},
)


@st.composite
def well_made(draw: st.DrawFn) -> tuple[dict, int]:
    """A right request, and how many rows it has."""
    rows = draw(st.integers(1, 5))
    numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)

    def tensor(name: str, datatype: str, values: st.SearchStrategy) -> dict:
        data = draw(st.lists(values, min_size=rows, max_size=rows))
        nested, flat = draw(st.booleans()), data
        return {
            "name": name,
            "datatype": datatype,
            "shape": [rows, 1] if nested or draw(st.booleans()) else [rows],
            "data": [[value] for value in data] if nested else flat,
        }

    inputs = [
        tensor("temp", "FP64", numbers),
        tensor("hum", "INT64", st.none() | st.integers(-(2**53), 2**53)),
        tensor("weather", "BYTES", st.none() | st.text(max_size=5)),
    ]
    return {"inputs": draw(st.permutations(inputs))}, rows


@pytest.mark.parametrize("signature", [MIXED, NUMBERS])
def test_any_body_is_rows_of_the_models_shape_or_refused_in_words(signature):
    @effort(120)
    @given(bodies)
    def holds(body):
        try:
            request = read_request(body, signature)
        except RequestRefusedError as error:
            assert str(error)
            return
        columns = signature.columns
        assert request.rows.numbers.shape == (len(request.rows), len(columns.numbers))
        assert all(len(row) == len(columns.categories) for row in request.rows.categories)
        assert len(request.rows) <= 4

    holds()


@effort(80)
@given(well_made())
def test_a_right_request_is_read_value_for_value(made):
    body, rows = made

    request = read_request(orjson.loads(orjson.dumps(body)), MIXED)

    by_name = {tensor["name"]: tensor["data"] for tensor in body["inputs"]}
    for index, name in enumerate(("temp", "hum")):
        flat = np.array(by_name[name], dtype=np.float64).reshape(rows)
        np.testing.assert_array_equal(request.rows.numbers[:, index], flat)
    assert len(request.rows) == rows


@pytest.mark.parametrize("shape", [[2**63], [2**62, 4], [2**40, 2**40], [-1], [0], [1, 0], [True], [1.0], [], [1, 1, 1], [[1]], ["1"], {"0": 1}])  # fmt: skip
@pytest.mark.parametrize("data", [[1.0], [[1.0]], [], [[]], [[1.0], 2.0], [{}]])
def test_a_shape_that_the_data_has_not_is_refused(shape, data):
    inputs = [
        {"name": name, "datatype": "FP64", "shape": shape, "data": data} for name in ("temp", "hum")
    ]
    with pytest.raises(RequestRefusedError, match=r"shape|data"):
        read_request({"inputs": inputs}, NUMBERS)
