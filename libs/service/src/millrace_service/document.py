"""The OpenAPI document as users generate clients from it: with the problems that every service answers refusals with."""

from collections.abc import Callable, Iterator
from typing import Any

PROBLEM = "application/problem+json"

_REFERENCE = {"$ref": "#/components/schemas/Problem"}
_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457: what is wrong and what to do about it. Some have more members, as `problems`.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "the kind of problem; stays the same"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "in words, for people"},
        "problems": {
            "type": "array",
            "items": {"type": "object"},
            "description": "one for each thing that is wrong: where, what, and what to send instead",
        },
    },
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")
_WAITING = ("429", "503")


def document_of(generate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """FastAPI's document (which it keeps), with a Problem for every refusal of which a route says nothing else."""
    document = generate()
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    if "Problem" in schemas:
        return document
    schemas["Problem"] = _SCHEMA
    for name in _FASTAPIS_OWN:
        schemas.pop(name, None)
    for status, response in _refusals(document):
        content = response.get("content", {})
        if not content or "HTTPValidationError" in str(content):
            response["content"] = {PROBLEM: {"schema": _REFERENCE}}
            if status in _WAITING:
                response.setdefault("headers", _RETRY_AFTER)
    return document


def _refusals(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status >= "4":
                    yield status, response
