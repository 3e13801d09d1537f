"""What `/docs` says about requests that are read by hand."""

from typing import Any

DESCRIPTION = (
    "Answers with each pipeline's champion, by the Open Inference Protocol, version 2: JSON, or JSON with binary tensors "
    "behind it (Inference-Header-Content-Length), both also as gzip or deflate. The same over gRPC."
)

_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {
            "type": "string",
            "description": "a feature, or `features` for all of a model without categories; or of the pipeline file: "
            "its entity, its time, its id, or a field, from which features are completed",
        },
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
            "properties": {
                "binary_data_size": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "the tensor's values are so many bytes behind the JSON, in data's place",
                }
            },
        },
    },
}
_OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "parameters": {
            "type": "object",
            "properties": {
                "binary_data": {"type": "boolean", "description": "send it behind the JSON"}
            },
        },
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
            "description": "Others are hints, and ignored",
            "properties": {
                "binary_data_output": {
                    "type": "boolean",
                    "description": "send all outputs behind the JSON",
                },
                "entity": {
                    "type": "string",
                    "description": "whom the request is about, for a canary's share; without it the id decides",
                },
                "explain": {
                    "type": "boolean",
                    "description": "say why: SHAP values, of at most 100 rows",
                },
                "complete": {
                    "type": "boolean",
                    "description": "of a pipeline without an entity: complete features from its newest vector",
                },
            },
        },
    },
}
_EXPLANATION = {
    "type": "object",
    "required": ["space", "base", "contributions"],
    "description": "base + the sum of contributions is the model's raw output",
    "properties": {
        "space": {"type": "string", "enum": ["value", "log_odds", "logits", "probability"]},
        "outputs": {
            "type": "array",
            "items": {"type": "string"},
            "description": "multiclass: the class of each base, and of each row's shares",
        },
        "base": {"description": "a number; multiclass: one for each class"},
        "contributions": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {}},
            "description": "by feature, one for each row; multiclass: one for each row and class",
        },
    },
}
_FRESHNESS = {
    "type": "object",
    "description": "by feature, for each row",
    "additionalProperties": {
        "type": "array",
        "items": {"type": "string", "enum": ["given", "fresh", "stale", "absent"]},
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
        "parameters": {
            "type": "object",
            "description": "Where features were completed, or an explanation was asked for",
            "properties": {
                "explanation": _EXPLANATION,
                "freshness": _FRESHNESS,
                "vector_times": {
                    "type": "array",
                    "items": {"type": ["string", "null"], "format": "date-time"},
                    "description": "for each row, the event time of the newest vector",
                },
                "online_store": {"type": "string", "enum": ["current", "catching up"]},
            },
        },
    },
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}

_HEADER_LENGTH = "Inference-Header-Content-Length"
_BYTES = {"type": "string", "format": "binary"}

INFER: dict[str, Any] = {
    "parameters": [
        {
            "name": _HEADER_LENGTH,
            "in": "header",
            "required": False,
            "schema": {"type": "integer", "minimum": 0},
            "description": "Bytes of JSON at the body's beginning; behind them stand the tensors with a binary_data_size",
        },
        {
            "name": "Content-Encoding",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "enum": ["gzip", "deflate", "identity"]},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _REQUEST},
            "application/octet-stream": {"schema": _BYTES},
        },
    },
    "responses": {
        "200": {
            "description": "The answers",
            "headers": {
                _HEADER_LENGTH: {
                    "schema": {"type": "integer"},
                    "description": "where outputs follow as bytes: how long the JSON before them is",
                }
            },
            "content": {
                "application/json": {"schema": _RESPONSE},
                "application/octet-stream": {"schema": _BYTES},
            },
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
