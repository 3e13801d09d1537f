"""The part of the Open Inference Protocol's gRPC messages that one request of one tensor needs.

Field numbers as in the protocol's `open_inference_grpc.proto`. Made at run time, in a pool of its own: the benchmark asks
every contender with the same bytes, and needs no generated code for it.
"""

import struct

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from numpy.typing import NDArray

METHOD = "/inference.GRPCInferenceService/ModelInfer"
_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _Field.TYPE_STRING,
    "int64": _Field.TYPE_INT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "bytes": _Field.TYPE_BYTES,
}
# name -> (number, type, repeated)
_CONTENTS = {"fp32_contents": (6, "float", True), "fp64_contents": (7, "double", True)}
_TENSOR = {
    "name": (1, "string", False),
    "datatype": (2, "string", False),
    "shape": (3, "int64", True),
    "contents": (5, "Contents", False),
}
_REQUEST = {
    "model_name": (1, "string", False),
    "inputs": (5, "Tensor", True),
    "raw_input_contents": (7, "bytes", True),
}
_RESPONSE = {
    "model_name": (1, "string", False),
    "model_version": (2, "string", False),
    "id": (3, "string", False),
    "outputs": (5, "Tensor", True),
    "raw_output_contents": (6, "bytes", True),
}
_MESSAGES = {
    "Contents": _CONTENTS,
    "Tensor": _TENSOR,
    "Request": _REQUEST,
    "Response": _RESPONSE,
}


def _classes() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="bench.proto", package="bench", syntax="proto3")
    for message, fields in _MESSAGES.items():
        descriptor = file.message_type.add(name=message)
        for name, (number, kind, repeated) in fields.items():
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            field = descriptor.field.add(name=name, number=number, label=label)
            field.type = _TYPES.get(kind, _Field.TYPE_MESSAGE)
            if kind not in _TYPES:
                field.type_name = f".bench.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"bench.{name}"))
        for name in _MESSAGES
    }


_CLASS = _classes()


def request(model: str, tensor: str, row: NDArray[np.float32]) -> bytes:
    """One row as raw little-endian FP32, the way `tritonclient` sends it."""
    message = _CLASS["Request"](model_name=model)
    message.inputs.add(name=tensor, datatype="FP32", shape=[1, len(row)])  # type: ignore[attr-defined]
    message.raw_input_contents.append(row.astype("<f4").tobytes())  # type: ignore[attr-defined]
    return message.SerializeToString()


def numbers_of(answer: bytes) -> list[float]:
    """Every number in the tensors of a response, typed or raw. Raises DecodeError for what is none."""
    message = _CLASS["Response"].FromString(answer)
    found: list[float] = []
    for tensor in message.outputs:  # type: ignore[attr-defined]
        found += [*tensor.contents.fp32_contents, *tensor.contents.fp64_contents]
    kinds = [tensor.datatype for tensor in message.outputs]  # type: ignore[attr-defined]
    for kind, raw in zip(kinds, message.raw_output_contents, strict=False):  # type: ignore[attr-defined]
        if kind in ("FP32", "FP64"):
            found += np.frombuffer(raw, "<f4" if kind == "FP32" else "<f8").tolist()
    return found


def framed(message: bytes) -> bytes:
    """As it stands in an HTTP/2 stream: uncompressed, with its length before it."""
    return struct.pack(">BI", 0, len(message)) + message
