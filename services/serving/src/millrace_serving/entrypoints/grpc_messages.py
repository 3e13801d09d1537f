"""Between the protocol's gRPC messages and the same things as JSON has them, which is what the rest of serving reads and writes."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from millrace_serving.domain.binary import Raw, encoded, text_of
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.domain.outputs import Json
from open_inference_proto.open_inference_pb2 import (
    InferParameter,
    ModelInferRequest,
    ModelInferResponse,
)

_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_NAN = float("nan")

_InputTensor = ModelInferRequest.InferInputTensor
_OutputTensor = ModelInferResponse.InferOutputTensor


def question_of(request: ModelInferRequest) -> Json:
    """The request as its JSON would be. Raises RequestRefusedError."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise RequestRefusedError(
            f"there are {len(request.inputs)} inputs and {len(raw)} raw_input_contents; send one for each, or none"
        )
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "parameters": _values(tensor.parameters),
            "data": _raw(tensor, raw[index]) if raw else _typed(tensor),
        }
        for index, tensor in enumerate(request.inputs)
    ]
    outputs = [
        {"name": output.name, "parameters": _values(output.parameters)}
        for output in request.outputs
    ]
    parameters = _values(request.parameters)
    return {"id": request.id, "inputs": inputs, "outputs": outputs, "parameters": parameters}


def _raw(tensor: _InputTensor, content: bytes) -> Raw:
    if tensor.HasField("contents"):
        raise RequestRefusedError(
            f"the input {tensor.name!r} has both contents and raw_input_contents; send one of them"
        )
    return Raw(content)


def _typed(tensor: _InputTensor) -> list[Any]:
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise RequestRefusedError(
            f"the input {tensor.name!r} is {tensor.datatype!r}, for which there are no typed contents: "
            f"send it as raw_input_contents, or as one of {', '.join(_CONTENTS)}"
        )
    values = getattr(tensor.contents, field)
    if tensor.datatype == "BYTES":
        return [text_of(value, tensor.name) for value in values]
    return list(values)


def _values(parameters: Mapping[str, InferParameter]) -> Json:
    return {name: _value(parameter) for name, parameter in parameters.items()}


def _value(parameter: InferParameter) -> bool | int | float | str | None:
    chosen = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, chosen) if chosen else None


def answer_of(response: Json, *, raw: bool) -> ModelInferResponse:
    """The response, with its values as bytes or typed: as the request brought its own. Raises RequestRefusedError."""
    outputs = response["outputs"]
    message = ModelInferResponse(
        model_name=response["model_name"],
        model_version=response["model_version"],
        id=response["id"],
        outputs=[
            _OutputTensor(name=each["name"], datatype=each["datatype"], shape=each["shape"])
            for each in outputs
        ],
    )
    for name, value in response.get("parameters", {}).items():
        _put(message.parameters[name], value)
    for tensor, output in zip(message.outputs, outputs, strict=True):
        for name, value in output.get("parameters", {}).items():
            _put(tensor.parameters[name], value)
        if raw:
            content = encoded(output["datatype"], output["data"], output["name"])
            message.raw_output_contents.append(content)
        else:
            getattr(tensor.contents, _CONTENTS[output["datatype"]]).extend(_present(output))
    return message


def _present(output: Json) -> Sequence[Any]:
    """The values, with what stands for a missing one where there is no null."""
    name, datatype, data = output["name"], output["datatype"], output["data"]
    match datatype:
        case "BYTES":
            return [(value or "").encode() for value in data]
        case "BOOL":
            encoded(datatype, data, name)  # refuses what a BOOL cannot say
            return data  # type: ignore[no-any-return]
        case _:
            return [_NAN if value is None else value for value in data]


def _put(parameter: InferParameter, value: object) -> None:
    """What has no type of its own here travels as JSON."""
    match value:
        case bool():
            parameter.bool_param = value
        case int():
            parameter.int64_param = value
        case float():
            parameter.double_param = value
        case str():
            parameter.string_param = value
        case _:
            parameter.string_param = orjson.dumps(value).decode()
