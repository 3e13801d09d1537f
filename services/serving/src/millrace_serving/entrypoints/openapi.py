"""What `/docs` says about requests that are read by hand."""

from typing import Any

DESCRIPTION = (
    "Answers with each pipeline's champion, by the Open Inference Protocol, version 2: JSON, or JSON with binary tensors "
    "behind it (Inference-Header-Content-Length), both also as gzip or deflate. The same over gRPC."
)

_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "minItems": 1,
            "maxItems": 2,
        },
        "datatype": {"type": "string", "examples": ["FP64", "INT64", "BOOL", "BYTES"]},
        "data": {
            "type": "array",
            "items": {},
            "description": "flat or nested, row by row; null: missing",
        },
        "parameters": {
            "type": "object",
            "description": "binary_data_size: the tensor's values are so many bytes behind the JSON, in data's place",
        },
    },
}
_OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "parameters": {"type": "object", "description": "binary_data: send it behind the JSON"},
    },
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "comes back, and is the prediction's event id"},
        "inputs": {"type": "array", "items": _TENSOR, "minItems": 1},
        "outputs": {"type": "array", "items": _OUTPUT, "description": "default: all"},
        "parameters": {
            "type": "object",
            "description": "binary_data_output: send all outputs behind the JSON",
        },
    },
}
_RESPONSE = {
    "type": "object",
    "required": ["model_name", "model_version", "id", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}

INFER: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}},
    "responses": {
        "200": {
            "description": "The answers",
            "content": {"application/json": {"schema": _RESPONSE}},
        }
    },
}

INDEX: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "ready": {"type": "boolean", "description": "only those that would answer"}
                    },
                }
            }
        },
    }
}


def _error(status: int, description: str) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"description": description, "content": {"application/json": {"schema": _ERROR}}}
    }


ERRORS = {
    400: _error(400, "The request is wrong; the error says where"),
    404: _error(404, "No such pipeline, or the version is not loaded"),
    413: _error(413, "The body is too large"),
    415: _error(415, "The body's content encoding is not understood"),
    503: _error(503, "Not ready; try again"),
}

REFUSALS = ERRORS[400] | ERRORS[404] | ERRORS[413] | ERRORS[415] | ERRORS[503]
