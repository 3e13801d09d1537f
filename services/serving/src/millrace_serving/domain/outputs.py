"""Answers to the Open Inference Protocol's tensors, and what a model's tensors are called."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from millrace_kernel.pipeline import LabelKind
from millrace_serving.domain.answers import Answer
from millrace_serving.domain.columns import Signature

THRESHOLD = 0.5  # the probability from which on a binary answer's label is true

Json = dict[str, Any]


def describe_outputs(signature: Signature) -> list[Json]:
    """The metadata of the tensors that a response brings."""
    widths = _widths(signature)
    described = []
    for name, datatype in outputs_of(signature).items():
        shape = (-1, widths[name]) if name in widths else (-1,)
        described.append(describe(name, datatype, *shape))
    return described


def output_tensors(
    signature: Signature, answers: Sequence[Answer], requested: Sequence[str]
) -> list[Json]:
    """The answers as tensors, in the order asked for. What has no answer is null."""
    outputs, widths = outputs_of(signature), _widths(signature)
    return [
        _output(name, outputs[name], answers, widths) | _meaning(name, signature)
        for name in requested or outputs
    ]


_OUTPUTS: dict[LabelKind, dict[str, str]] = {
    LabelKind.REGRESSION: {"value": "FP64"},
    LabelKind.BINARY: {"probability": "FP64", "label": "BOOL"},
    LabelKind.MULTICLASS: {"class": "BYTES", "probabilities": "FP64"},
    LabelKind.TEXT: {"text": "BYTES"},
}


def _meaning(name: str, signature: Signature) -> Json:
    """What the columns of an output are, where its name does not say it: parameters are texts, numbers or booleans."""
    match name:
        case "quantiles":
            levels = ", ".join(f"{level:g}" for level in signature.quantiles)
            return {"parameters": {"levels": levels}}
        case "interval":
            return {"parameters": {"share": signature.interval}}
        case _:
            return {}


def outputs_of(signature: Signature) -> dict[str, str]:
    """The outputs of a model with their types."""
    outputs = _OUTPUTS[signature.kind]
    if signature.quantiles:
        outputs = outputs | {"quantiles": "FP64"}
    return outputs if signature.interval is None else outputs | {"interval": "FP64"}


def _widths(signature: Signature) -> dict[str, int]:
    """How many values a row has in the outputs that have more than one."""
    return {
        "probabilities": len(signature.classes),
        "quantiles": len(signature.quantiles),
        "interval": 2,
    }


def describe(name: str, datatype: str, *shape: int) -> Json:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def _output(name: str, datatype: str, answers: Sequence[Answer], widths: Mapping[str, int]) -> Json:
    data: list[Any]
    shape = [len(answers)]
    match name:
        case "label":
            data = [
                None if answer.value is None else answer.value >= THRESHOLD for answer in answers
            ]
        case "class":
            data = [answer.class_label or None for answer in answers]
        case "text":
            data = [answer.text or None for answer in answers]
        case "probabilities":
            data = _flattened([answer.probabilities for answer in answers], widths[name])
            shape.append(widths[name])
        case "quantiles":
            data = _flattened([answer.quantiles for answer in answers], widths[name])
            shape.append(widths[name])
        case "interval":
            data = _flattened([answer.interval for answer in answers], widths[name])
            shape.append(widths[name])
        case _:
            data = [answer.value for answer in answers]
    return {**describe(name, datatype, *shape), "data": data}


def _flattened(rows: Sequence[Sequence[float]], width: int) -> list[Any]:
    return list(chain.from_iterable(row or (None,) * width for row in rows))
