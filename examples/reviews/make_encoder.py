"""Makes a small sentence encoder of a file of word vectors: a text becomes the mean of its words' vectors.

    python examples/reviews/make_encoder.py vectors.txt .millrace/encoders/words.onnx

The file has a word and its numbers on each line, as GloVe's and fastText's have. Words are lower case; whatever the file does
not know counts for nothing.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET, _IR_VERSION = 20, 9  # the first with StringSplit


def encoder_of(vectors: Mapping[str, Sequence[float]]) -> bytes:
    """One tensor of strings [rows] to float32 [rows, width]. Equal vectors give equal bytes."""
    words = sorted(vectors)
    table = np.array([vectors[word] for word in words], dtype=np.float32)
    counted = helper.make_node(
        "TfIdfVectorizer",
        ["words"],
        ["counts"],
        mode="TF",
        min_gram_length=1,
        max_gram_length=1,
        max_skip_count=0,
        ngram_counts=[0],
        ngram_indexes=list(range(len(words))),
        pool_strings=words,
    )
    nodes = [
        # the locale that ONNX says is the default, en_US, is not installed everywhere
        helper.make_node(
            "StringNormalizer",
            ["text"],
            ["lower"],
            case_change_action="LOWER",
            is_case_sensitive=1,
            locale="C.UTF-8",
        ),
        helper.make_node("StringSplit", ["lower"], ["words", "lengths"]),
        counted,
        helper.make_node("MatMul", ["counts", "table"], ["sums"]),
        helper.make_node("ReduceSum", ["counts", "columns"], ["known"], keepdims=1),
        helper.make_node("Max", ["known", "one"], ["some"]),
        helper.make_node("Div", ["sums", "some"], ["vector"]),
    ]
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "columns"),
        numpy_helper.from_array(np.array(1.0, dtype=np.float32), "one"),
    ]
    graph = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info("text", TensorProto.STRING, [None])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [None, table.shape[1]])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def read_vectors(path: Path) -> dict[str, list[float]]:
    """Lines of a word and its numbers; a first line of two numbers, as fastText writes it, is no word."""
    vectors = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *numbers = line.split()
        if len(numbers) > 1:
            vectors[word.lower()] = [float(number) for number in numbers]
    return vectors


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(encoder_of(read_vectors(source)))
