"""Damages what is inside of a signed artifact, as a trainer gone mad might, and loads it: refusal or answer, nothing else.

    python libs/artifacts/tests/fuzz_models.py --seconds 600 --seed 7

A batch of cases runs in one process of its own; when that dies or stops, its cases run one by one to name the one.
"""

import argparse
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.inspection import OPERATORS
from millrace_artifacts.scorer import onnx_run

WIDTH, BATCH, CPU_SECONDS = 3, 50, 20
ODD_NUMBERS = [-1, 0, 1, 2, 7, 1000, 65536, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]
ODD_FLOATS = [float("nan"), float("inf"), -1e38, 0.0]
ODD_TEXTS = [b"", b"LEAF", b"BRANCH_LEQ", b"BRANCH_EQ", b"SOFTMAX", b"x" * 1000]
EXTERNAL = ["../../etc/passwd", "/etc/passwd", "weights.bin"]
Generator = np.random.Generator


def model_of(node: onnx.NodeProto, initializers: tuple = ()) -> bytes:
    graph = helper.make_graph(
        [node],
        "model",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, WIDTH])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, 1])],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return model


def trees(count: int = 3) -> bytes:
    """Trees of seven nodes: a root, two branches, four leaves."""
    true, false = [1, 2, 0, 0, 5, 0, 0], [4, 3, 0, 0, 6, 0, 0]
    modes = ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"]
    leaves = [place for place, mode in enumerate(modes) if mode == "LEAF"]
    each = range(count)
    return model_of(
        helper.make_node(
            "TreeEnsembleRegressor",
            ["input"],
            ["answer"],
            domain="ai.onnx.ml",
            n_targets=1,
            nodes_treeids=[tree for tree in each for _ in true],
            nodes_nodeids=[place for _ in each for place in range(len(true))],
            nodes_truenodeids=true * count,
            nodes_falsenodeids=false * count,
            nodes_featureids=[0, 1, 0, 0, 2, 0, 0] * count,
            nodes_modes=modes * count,
            nodes_values=[0.5, -0.5, 0.0, 0.0, 0.1, 0.0, 0.0] * count,
            nodes_missing_value_tracks_true=[0] * len(true) * count,
            target_treeids=[tree for tree in each for _ in leaves],
            target_nodeids=leaves * count,
            target_ids=[0] * len(leaves) * count,
            target_weights=[1.0, 2.0, 3.0, 4.0] * count,
            post_transform="NONE",
        )
    )


def linear() -> bytes:
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [WIDTH, 1], [1.0, 2.0, 3.0])
    return model_of(helper.make_node("Gemm", ["input", "weights"], ["answer"]), (weights,))


MODELS = (trees(), linear())


def damaged_bytes(content: bytes, random: Generator) -> bytes:
    """Bits flipped, bytes taken out, put in, moved, cut off."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 6))):
        at, length = int(random.integers(len(data) or 1)), int(random.integers(1, 16))
        match int(random.integers(6)):
            case 0 if data:
                data[at] ^= 1 << int(random.integers(8))
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = random.bytes(length)
            case 3:
                start = int(random.integers(len(data) or 1))
                data[at : at + length] = data[start : start + length]
            case 4 if len(data) > 20:
                del data[max(20, at) :]
            case _:
                data[at : at + length] = b"\xff" * length
    return bytes(data)


def damaged_meaning(content: bytes, random: Generator) -> bytes:  # noqa: C901  a list of ideas
    """Protobuf as good as before, that says something mad."""
    model = onnx.load_from_string(content)
    for _ in range(int(random.integers(1, 4))):
        node = model.graph.node[int(random.integers(len(model.graph.node)))]
        match int(random.integers(12)):
            case 0:
                node.domain = str(random.choice(["", "ai.onnx.ml", "com.microsoft", "evil"]))
            case 1:
                operators = [name.split("/")[1] for name in sorted(OPERATORS)]
                node.op_type = str(random.choice([*operators, "Loop", "If", "Scan", "Constant"]))
            case 2:  # a circle
                node.input[0] = node.output[0]
            case 3 if model.graph.initializer:
                tensor = model.graph.initializer[0]
                tensor.dims[0] = int(random.choice(ODD_NUMBERS))
            case 4 if model.graph.initializer:
                tensor = model.graph.initializer[0]
                tensor.data_location = TensorProto.EXTERNAL
                tensor.external_data.add(key="location", value=str(random.choice(EXTERNAL)))
            case 5:  # graphs within graphs
                body = model.graph
                for _ in range(int(random.integers(1, 12))):
                    outer = helper.make_node("If", ["input"], ["answer"], then_branch=body)
                    body = helper.make_graph([outer], "deep", [], [])
                model.graph.node.extend(body.node)
            case 6:
                model.graph.input[0].type.tensor_type.shape.dim[-1].dim_value = int(
                    random.choice(ODD_NUMBERS)
                )
            case _:
                odd_attribute(node, random)
    changed: bytes = model.SerializeToString()
    return changed


def odd_attribute(node: onnx.NodeProto, random: Generator) -> None:
    if not node.attribute:
        return
    attribute = node.attribute[int(random.integers(len(node.attribute)))]
    for values, odd in (
        (attribute.ints, ODD_NUMBERS),
        (attribute.floats, ODD_FLOATS),
        (attribute.strings, ODD_TEXTS),
    ):
        if len(values):
            at = int(random.integers(len(values)))
            if random.random() < 0.2:
                del values[at:]
            elif random.random() < 0.5:
                values[at] = values[int(random.integers(len(values)))]
            else:
                values[at] = odd[int(random.integers(len(odd)))]
            return
    attribute.i = ODD_NUMBERS[int(random.integers(len(ODD_NUMBERS)))]


def case(seed: int, number: int) -> bytes:
    random = np.random.default_rng([seed, number])
    content = MODELS[int(random.integers(len(MODELS)))]
    if random.integers(2):
        return damaged_bytes(content, random)
    try:
        return damaged_meaning(content, random)
    except DecodeError:  # deeper than protobuf itself can say
        return damaged_bytes(content, random)


def load(content: bytes) -> str:
    """What came of it, in a word. Raises whatever is neither refusal nor answer."""
    random = np.random.default_rng(0)
    matrix = (random.normal(size=(64, WIDTH)) * 10).astype(np.float32)
    matrix[0] = np.nan
    try:
        run = onnx_run(content, WIDTH)
    except UnreadableArtifactError:
        return "refused"
    try:
        run(matrix)
    except (
        Exception
    ) as error:  # whatever ONNX Runtime raises: serving's first answer is part of loading
        if type(error).__module__.startswith("onnxruntime"):
            return "refused at its first answer"
        raise
    return "answered"


def apart(work: Callable[[], None]) -> int:
    """Run it in a process of its own with limits; its exit status, 0 when all is well."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
            work()
            status = 0
        except BaseException as error:  # noqa: BLE001  told, and an exit status
            sys.stdout.write(f"  {error!r}\n")
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitpid(child, 0)[1]


def findings(seed: int, numbers: range) -> list[str]:
    """The cases that are neither refused nor answered."""
    if apart(lambda: [load(case(seed, number)) for number in numbers] and None) == 0:
        return []
    found = []
    for number in numbers:
        status = apart(lambda number=number: load(case(seed, number)) and None)
        if status:
            found.append(f"seed {seed}, case {number}: exit status {status}")
    return found or [f"seed {seed}, cases {numbers.start} to {numbers.stop}: only together"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, help="so many, however long they take")
    given = parser.parse_args()
    end, number, found = time.monotonic() + given.seconds, 0, []
    while number < given.cases if given.cases else time.monotonic() < end:
        found += findings(given.seed, range(number, number + BATCH))
        number += BATCH
    sample = Counter(load(case(given.seed, number)) for number in range(min(number, BATCH)))
    sys.stdout.write(
        f"{number} cases, {len(found)} findings; of the first {BATCH}: {dict(sample)}\n"
    )
    sys.stdout.write("".join(f"{each}\n" for each in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
