"""Trying an artifact in a process of its own, so that what would end or stop a process ends or stops that one.

XGBoost believes what its own format says: a damaged file can crash it (a tree that points beyond its nodes or columns)
or keep it busy for ever (a tree that points back at itself). So a model that answers through XGBoost is opened here
first, its trees are followed, and it answers many rows. ONNX models need none of this: `inspection` and ONNX Runtime
refuse what is wrong with them.
"""

import importlib
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from millrace_artifacts.artifact import Artifact, Runtime, read_artifact
from millrace_artifacts.errors import ArtifactError, UnreadableArtifactError
from millrace_artifacts.scorer import load_scorer

REVISION = (
    1  # to be raised when a trial asks for more than before: who remembers trials tries again
)
SECONDS = 600.0  # of waiting: a busy machine takes its time
_CPU_SECONDS = 30  # of working; opening and answering take one or two
_MEMORY = 4 * 1024**3  # bytes of address space
_ROWS = 256
_LEAF = (-1, -1)  # a leaf's children
_REFUSED = 3  # exit code: the reason stands on stdout


def try_artifact(content: bytes, seconds: float = SECONDS) -> None:
    """Return when a process of its own has opened the artifact and got answers from it. Starts an interpreter: a second or two.

    Raises UnreadableArtifactError when it was refused, crashed, took longer than `seconds` or too much memory.
    """
    try:
        tried = subprocess.run(
            [sys.executable, "-m", __name__],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": ":".join(filter(None, sys.path))},  # and none of our secrets
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnreadableArtifactError(
            f"tried in a process of its own, the model gave no answer within {seconds:g} s; train again"
        ) from None
    if tried.returncode == _REFUSED:
        raise UnreadableArtifactError(tried.stdout.decode(errors="replace"))
    if tried.returncode:
        raise UnreadableArtifactError(
            f"tried in a process of its own, the model ended it {_how(tried.returncode)}; train again"
        )


def main() -> int:
    """The process's whole life: an artifact on stdin, an exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        artifact = read_artifact(sys.stdin.buffer.read())
        if artifact.model.runtime is Runtime.NATIVE:
            _follow_trees(artifact)
        _answer_rows(artifact)
    except ArtifactError as error:
        sys.stdout.write(str(error))
        return _REFUSED
    except Exception as error:  # noqa: BLE001  told to whoever asked
        reason = (str(error).strip().splitlines() or [""])[0]  # native libraries add their stack
        sys.stdout.write(
            f"tried in a process of its own, the model failed: {type(error).__name__}: {reason}; train again"
        )
        return _REFUSED
    return 0


def _answer_rows(artifact: Artifact) -> None:
    """Its examples, and rows of all sizes of numbers: every branch of its trees should be taken by some."""
    scorer = load_scorer(artifact)
    generator = np.random.default_rng(0)
    shape = (_ROWS, artifact.signature.width)
    matrix = generator.normal(size=shape) * 10.0 ** generator.integers(-3, 7, size=shape)
    matrix[generator.random(shape) < 0.1] = np.nan
    scorer.score_encoded(matrix.astype(np.float32))


def _follow_trees(artifact: Artifact) -> None:
    """Raises UnreadableArtifactError for trees that lead anywhere but downwards to leaves, or ask for columns that there are not."""
    xgboost = importlib.import_module("xgboost")
    native = artifact.model.native
    booster = xgboost.Booster(model_file=bytearray(native.content if native else b""))
    learner = json.loads(booster.save_raw("json"))["learner"]
    width = int(learner["learner_model_param"]["num_feature"])
    if width != artifact.signature.width:
        raise UnreadableArtifactError(
            f"the XGBoost model eats {width} columns, its signature has {artifact.signature.width}"
        )
    for place, tree in enumerate(learner["gradient_booster"]["model"]["trees"]):
        if problem := _problem_of(tree, width):
            raise UnreadableArtifactError(f"tree {place} of the XGBoost model {problem}")


def _problem_of(tree: Mapping[str, Any], width: int) -> str:
    left, right = tree["left_children"], tree["right_children"]
    columns, nodes = tree["split_indices"], int(tree["tree_param"]["num_nodes"])
    every = ("left_children", "right_children", "split_indices", "split_conditions", "default_left")
    if not nodes or any(len(tree[name]) != nodes for name in every):
        return "does not have as many branches as nodes"
    waiting, unreached = [0], set(range(1, nodes))
    while waiting:
        node = waiting.pop()
        for child in (left[node], right[node]):
            if (left[node], right[node]) != _LEAF:
                if child not in unreached:
                    return "leads back or out of itself"
                unreached.remove(child)
                waiting.append(child)
        if not 0 <= columns[node] < width:
            return f"asks for column {columns[node]}"
    return ""


def _how(code: int) -> str:
    if code == -signal.SIGXCPU:
        return f"after {_CPU_SECONDS} s of work without an answer"
    if code < 0:
        return f"with signal {-code} ({signal.Signals(-code).name})"
    return f"with code {code}"


if __name__ == "__main__":
    sys.exit(main())
