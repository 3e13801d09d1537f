"""The Open Inference Protocol, version 2: a request's tensors to vectors, answers to tensors.

A request is what its JSON says; where it brings a tensor's values as bytes, they stand in it as `binary.Raw`. Beyond the
protocol, `null` stands for a missing number or category: JSON has no NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeGuard

import numpy as np

from millrace_serving.domain.binary import Raw, Values, decoded
from millrace_serving.domain.columns import MISSING_CATEGORY, Columns, Numbers, Rows, Signature
from millrace_serving.domain.errors import RequestRefusedError as RequestRefusedError
from millrace_serving.domain.outputs import Json, describe, outputs_of

ALL_NUMBERS = (
    "features"  # the one tensor that holds every numeric column, for vectors without categories
)

FLOATS = frozenset({"FP16", "FP32", "FP64"})
INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_NONE = type(None)
_NUMBER_TYPES: dict[str, frozenset[type]] = {
    **dict.fromkeys(FLOATS, frozenset({float, int, _NONE})),
    **dict.fromkeys(INTEGERS, frozenset({int, _NONE})),
    "BOOL": frozenset({bool, _NONE}),
}
_BYTES_TYPES: frozenset[type] = frozenset({str, _NONE})
_NOT_UNDERSTOOD = {
    "classification": "there is no such extension here; multiclass pipelines have the outputs class and probabilities",
    "shared_memory_region": "there is no shared memory here; send the tensor's values with the request",
}

# what a request says becomes one message on the bus, which must stay below a broker's 1 MB
LONGEST_ID = 200
LONGEST_TEXT = 1_000
LONGEST_FREE_TEXT = 65_536  # bytes


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A request, understood. `outputs` empty: all of them. `parameters`: what it says beside its tensors."""

    id: str | None
    rows: Rows
    outputs: tuple[str, ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One input, with its data flat, and as many rows as its shape says."""

    name: str
    datatype: str
    rows: int
    columns: int
    data: list[Any] | Values


def read_request(body: object, signature: Signature) -> InferenceRequest:
    """Check the request against the signature. Raises RequestRefusedError."""
    request = _object(body, "the body")
    identity = request.get("id") or None
    if identity is not None and not (isinstance(identity, str) and len(identity) <= LONGEST_ID):
        raise RequestRefusedError(f"id must be a string of at most {LONGEST_ID} characters")
    tensors = _tensors(_list(request.get("inputs"), "inputs"))
    return InferenceRequest(
        identity,
        _rows(tensors, signature.columns),
        _requested(request, signature),
        _object(request.get("parameters") or {}, "parameters"),
    )


class Given:
    """A request's inputs by name, one value for each row, read as what they are asked for.

    Raises RequestRefusedError when they are not what is asked for.
    """

    def __init__(self, tensors: Mapping[str, _Tensor]) -> None:
        self._tensors = {name: _column(tensor) for name, tensor in tensors.items()}
        self.names = frozenset(tensors)
        self.rows = _row_count(tensors)

    def datatype(self, name: str) -> str:
        return self._tensors[name].datatype

    def numbers(self, name: str) -> list[float]:
        """NaN where missing."""
        numbers: list[float] = _floats(self._tensors[name]).tolist()
        return numbers

    def texts(self, name: str, *, free: bool = False) -> list[str]:
        """Empty where missing. `free`: what somebody wrote, which may be long."""
        return _texts(self._tensors[name], free=free)

    def names_in(self, name: str) -> list[str]:
        """Texts that name something: whole numbers count as their digits, as they do where events come in."""
        tensor = self._tensors[name]
        if tensor.datatype in INTEGERS and None not in tensor.data:
            _floats(tensor)  # its checks
            return [str(value) for value in tensor.data]
        return self.texts(name)


def given_of(body: Mapping[str, Any]) -> Given:
    """The inputs of a request. Raises RequestRefusedError."""
    return Given(_tensors(_list(body.get("inputs"), "inputs")))


def describe_inputs(columns: Columns) -> list[Json]:
    """The metadata of the tensors that a request brings, one per feature."""
    numbers = [describe(name, "FP64", -1) for name in columns.numbers]
    return numbers + [describe(name, "BYTES", -1) for name in columns.categories]


def _requested(request: Mapping[str, Any], signature: Signature) -> tuple[str, ...]:
    names, outputs = [], outputs_of(signature)
    for index, output in enumerate(_list(request.get("outputs") or [], "outputs")):
        name = _object(output, f"outputs[{index}]").get("name")
        _check_parameters(output, f"outputs[{index}]")
        if name not in outputs:
            raise RequestRefusedError(
                f"there is no output {name!r}; this {signature.kind} model has {', '.join(outputs)}"
            )
        names.append(name)
    return tuple(names)


def _rows(tensors: Mapping[str, _Tensor], columns: Columns) -> Rows:
    if ALL_NUMBERS in tensors and ALL_NUMBERS not in columns.numbers + columns.categories:
        return _matrix(tensors, columns)
    _check_names(tensors, columns)
    count = _row_count(tensors)
    numbers = np.empty((count, len(columns.numbers)))
    for index, name in enumerate(columns.numbers):
        numbers[:, index] = _floats(_column(tensors[name]))
    texts = [
        _texts(_column(tensors[name]), free=name in columns.texts) for name in columns.categories
    ]
    return Rows(columns, numbers, list(zip(*texts, strict=True)) if texts else [()] * count)


def _matrix(tensors: Mapping[str, _Tensor], columns: Columns) -> Rows:
    """The one tensor [n, k] of all numeric columns in order."""
    tensor = tensors[ALL_NUMBERS]
    if columns.categories:
        raise RequestRefusedError(
            f"the tensor {ALL_NUMBERS!r} holds numbers only, and this pipeline has the categories "
            f"{', '.join(columns.categories)}: send one tensor per feature"
        )
    if len(tensors) > 1:
        raise RequestRefusedError(
            f"send either the one tensor {ALL_NUMBERS!r} or one tensor per feature, not both"
        )
    if tensor.datatype not in FLOATS:
        raise RequestRefusedError(
            f"the tensor {ALL_NUMBERS!r} must be FP32 or FP64, not {tensor.datatype}"
        )
    if tensor.columns != len(columns.numbers):
        raise RequestRefusedError(
            f"the tensor {ALL_NUMBERS!r} must have the shape [n, {len(columns.numbers)}], "
            f"its columns in the order {', '.join(columns.numbers)}; it has {tensor.columns} columns"
        )
    matrix = _floats(tensor).reshape(tensor.rows, tensor.columns)
    return Rows(columns, matrix, [()] * tensor.rows)


def _check_names(tensors: Mapping[str, _Tensor], columns: Columns) -> None:
    features = columns.numbers + columns.categories
    missing = [name for name in features if name not in tensors]
    if missing:
        raise RequestRefusedError(
            f"missing inputs: {', '.join(missing)}; send one tensor per feature, null where a value is missing"
        )
    unknown = [name for name in tensors if name not in features]
    if unknown:
        raise RequestRefusedError(
            f"unknown inputs: {', '.join(unknown)}; this model's features are {', '.join(features)}"
        )


def _row_count(tensors: Mapping[str, _Tensor]) -> int:
    counts = {tensor.rows for tensor in tensors.values()}
    if len(counts) != 1:
        shown = ", ".join(f"{tensor.name} {tensor.rows}" for tensor in tensors.values())
        raise RequestRefusedError(f"every input must have the same number of rows; here: {shown}")
    return counts.pop()


def _column(tensor: _Tensor) -> _Tensor:
    if tensor.columns != 1:
        raise RequestRefusedError(
            f"the input {tensor.name!r} must have the shape [n] or [n, 1], not [n, {tensor.columns}]"
        )
    return tensor


def _floats(tensor: _Tensor) -> Numbers:
    allowed = _NUMBER_TYPES.get(tensor.datatype)
    if allowed is None:
        raise RequestRefusedError(
            f"the feature {tensor.name!r} is a number: send FP64, FP32, INT* or BOOL, not {tensor.datatype}"
        )
    if isinstance(tensor.data, np.ndarray):
        return tensor.data.astype(np.float64)
    _check_types(tensor.name, tensor.datatype, tensor.data, allowed)
    try:
        return np.array(tensor.data, dtype=np.float64)  # None becomes NaN
    except OverflowError as error:
        raise RequestRefusedError(
            f"the input {tensor.name!r} holds a number beyond FP64"
        ) from error


def _texts(tensor: _Tensor, *, free: bool) -> list[str]:
    if tensor.datatype != "BYTES":
        what = "text" if free else "category"
        raise RequestRefusedError(
            f"the feature {tensor.name!r} is a {what}: send BYTES, not {tensor.datatype}"
        )
    assert isinstance(tensor.data, list)
    _check_types(tensor.name, tensor.datatype, tensor.data, _BYTES_TYPES)
    texts = [value or MISSING_CATEGORY for value in tensor.data]
    longest = max(map(len, texts))
    if not free and longest > LONGEST_TEXT:
        raise RequestRefusedError(
            f"the input {tensor.name!r} holds a text of more than {LONGEST_TEXT} characters"
        )
    # a character takes four bytes at most
    if free and 4 * longest > LONGEST_FREE_TEXT and max(map(_bytes_of, texts)) > LONGEST_FREE_TEXT:
        raise RequestRefusedError(
            f"the input {tensor.name!r} holds a text of more than {LONGEST_FREE_TEXT} bytes"
        )
    return texts


def _bytes_of(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _check_types(name: str, datatype: str, data: list[Any], allowed: frozenset[type]) -> None:
    strange = set(map(type, data)) - allowed
    if strange:
        example = next(value for value in data if type(value) in strange)
        raise RequestRefusedError(
            f"the input {name!r} is {datatype}, but its data holds {str(example)[:40]!r}"
        )


def _check_parameters(given: Mapping[str, Any], what: str) -> None:
    """Refuse what would change the meaning of a tensor and isn't understood; the rest are hints."""
    for name in _object(given.get("parameters") or {}, f"{what}.parameters"):
        if name in _NOT_UNDERSTOOD:
            raise RequestRefusedError(f"{what} has the parameter {name!r}: {_NOT_UNDERSTOOD[name]}")


def _tensors(inputs: list[Any]) -> dict[str, _Tensor]:
    if not inputs:
        raise RequestRefusedError("inputs must hold at least one tensor")
    tensors: dict[str, _Tensor] = {}
    for index, given in enumerate(inputs):
        tensor = _tensor(_object(given, f"inputs[{index}]"), index)
        if tensor.name in tensors:
            raise RequestRefusedError(f"the input {tensor.name!r} is given twice")
        tensors[tensor.name] = tensor
    return tensors


def _tensor(given: Mapping[str, Any], index: int) -> _Tensor:
    name, datatype = given.get("name"), given.get("datatype")
    if not isinstance(name, str) or not name:
        raise RequestRefusedError(f"inputs[{index}] must have a name")
    if not isinstance(datatype, str):
        raise RequestRefusedError(f"the input {name!r} must have a datatype, e.g. FP64")
    _check_parameters(given, f"the input {name!r}")
    if "data" not in given:
        raise RequestRefusedError(
            f"the input {name!r} has no data; send it as JSON, or behind the JSON with the parameter binary_data_size"
        )
    rows, columns = _shape(given.get("shape"), name)
    data = given["data"]
    if isinstance(data, Raw):
        return _Tensor(name, datatype, rows, columns, decoded(data, datatype, rows * columns, name))
    flat = _flat(_list(data, f"the data of {name!r}"), rows, columns, name)
    return _Tensor(name, datatype, rows, columns, flat)


def _shape(shape: object, name: str) -> tuple[int, int]:
    match shape:
        case [rows] | [rows, 1] if _is_size(rows):
            return rows, 1
        case [rows, columns] if _is_size(rows) and _is_size(columns):
            return rows, columns
    raise RequestRefusedError(
        f"the shape of {name!r} must be [n] or [n, columns], all greater than 0, not {shape!r}"
    )


def _is_size(value: object) -> TypeGuard[int]:
    return type(value) is int and value > 0  # a bool is an int too


def _flat(data: list[Any], rows: int, columns: int, name: str) -> list[Any]:
    """Row-major data, given flat or nested, as one flat list of rows x columns values."""
    flat = data
    if data and isinstance(data[0], list):
        if not all(isinstance(row, list) and len(row) == columns for row in data):
            raise RequestRefusedError(
                f"the data of {name!r} is nested, but not every row has {columns} values, as its shape says"
            )
        flat = list(chain.from_iterable(data))
    if len(flat) != rows * columns:
        raise RequestRefusedError(
            f"the data of {name!r} has {len(flat)} values, its shape has {rows * columns}"
        )
    return flat


def _object(value: object, what: str) -> Json:
    if not isinstance(value, dict):
        raise RequestRefusedError(f"{what} must be an object")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise RequestRefusedError(f"{what} must be a list")
    return value
