"""Single rows over gRPC as most clients send them: one raw tensor of all numbers, answered by the deployment's plan."""

import struct
from weakref import WeakKeyDictionary

import numpy as np

from millrace_kernel.pipeline import LabelKind
from millrace_serving.application.hot import Plan, Plans, Said
from millrace_serving.domain.answers import Answer
from millrace_serving.domain.binary import DATATYPES, encoded
from millrace_serving.domain.columns import Signature
from millrace_serving.domain.outputs import THRESHOLD, output_tensors
from millrace_serving.domain.tensors import ALL_NUMBERS
from millrace_serving.entrypoints.grpc_messages import answer_of
from open_inference_proto.open_inference_pb2 import ModelInferRequest

_TYPES = {name: DATATYPES[name] for name in ("FP32", "FP64")}
_double = struct.Struct("<d").pack


class HotCalls:
    """Answers what a plan is sure to understand; the bytes are a ModelInferResponse's."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans
        # without keeping a plan, and with it a model, that nobody else needs any more
        self._forms: WeakKeyDictionary[Plan, _Form] = WeakKeyDictionary()

    def answer(self, request: ModelInferRequest) -> bytes | None:
        """The response, whose prediction is on its way. None: not for a plan, and nothing has happened."""
        if request.model_version or request.outputs or request.parameters:
            return None
        if len(request.inputs) != 1 or len(request.raw_input_contents) != 1:
            return None
        plan = self._plans.plan(request.model_name)
        if plan is None:
            return None
        form = self._forms.get(plan)
        if form is None:
            form = self._forms[plan] = _Form(request.model_name, plan)
        return form.answer(plan, request)


class _Form:
    """What all requests to a deployment, and all of its answers, have in common."""

    def __init__(self, name: str, plan: Plan) -> None:
        columns = plan.signature.columns
        width = len(columns.numbers)
        self._takes_matrix = not columns.categories and ALL_NUMBERS not in columns.numbers
        self._shape = [1, width]
        self._sizes = {name: width * dtype.itemsize for name, dtype in _TYPES.items()}
        self._kind = plan.signature.kind
        self._head = _head(name, plan.version, plan.signature)

    def answer(self, plan: Plan, request: ModelInferRequest) -> bytes | None:
        tensor, content = request.inputs[0], request.raw_input_contents[0]
        datatype = tensor.datatype
        if (
            not self._takes_matrix
            or tensor.name != ALL_NUMBERS
            or self._sizes.get(datatype) != len(content)
            or tensor.shape != self._shape
            or tensor.parameters
            or tensor.HasField("contents")
        ):
            return None
        said = plan.answer_numbers(request.id, np.frombuffer(content, _TYPES[datatype]))
        return None if said is None else self._written(said)

    def _written(self, said: Said) -> bytes:
        """Fields of a message may stand in any order: what is the same each time first, then the id and the values."""
        identity = said.identity.encode()
        if said.value is None:
            label = encoded("BYTES", [said.class_label], "class")
            contents = label, struct.pack(f"<{len(said.probabilities)}d", *said.probabilities)
        elif self._kind is LabelKind.BINARY:
            contents = _double(said.value), b"\1" if said.value >= THRESHOLD else b"\0"
        else:
            return b"%b\x1a%b%b2\x08%b" % (
                self._head,
                _length(identity),
                identity,
                _double(said.value),
            )
        values = b"".join(b"2%b%b" % (_length(content), content) for content in contents)
        return b"%b\x1a%b%b%b" % (self._head, _length(identity), identity, values)


def _head(name: str, version: str, signature: Signature) -> bytes:
    """Model, version and the outputs' names, types and shapes: cut out of a real response."""
    probabilities = (0.5,) * len(signature.classes)
    sample = Answer(None if probabilities else 0.5, "", probabilities)
    outputs = output_tensors(signature, [sample], ())
    response = {"model_name": name, "model_version": version, "id": "", "outputs": outputs}
    message = answer_of(response, raw=True)
    message.ClearField("raw_output_contents")
    head: bytes = message.SerializeToString()
    return head


def _length(content: bytes) -> bytes:
    """A length as protobuf writes it: seven bits in each byte, the lowest first."""
    size, written = len(content), bytearray()
    while size > 0x7F:
        written.append(size & 0x7F | 0x80)
        size >>= 7
    written.append(size)
    return bytes(written)
