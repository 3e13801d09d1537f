"""A user's own program as a kind of model: `command:NAME`, of the commands that whoever runs the service allows.

It is given a folder with the encoded rows and the job, and writes the model there as ONNX. What it writes is looked at like
any artifact's content before a library reads it, answers like every other model, and is measured like it.

    train.parquet   c0, c1, … (float32, the columns of the model's input; NaN where missing), label (float64; for classes their
                    place, int64) and weight (float64), one row per label, the oldest first
    job.json        format, label, classes, rows, columns, parameters, seed, threads
    model.onnx      to be written: one input, float32 [rows, columns]; the last output is the answer: [rows] or [rows, 1] values
                    of a regression, [rows, classes] probabilities
"""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from millrace_artifacts.artifact import Native
from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.inspection import inspect_onnx
from millrace_artifacts.scorer import OnnxRun, onnx_run
from millrace_artifacts.signature import Encoding, Matrix
from millrace_kernel.pipeline import LabelKind, command_named
from millrace_training.adapters.fitting.algorithms.estimators import Algorithm
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task
from millrace_training.adapters.fitting.job import NoCandidateError
from millrace_training.adapters.fitting.options import Commands, Options
from millrace_training.adapters.fitting.own.programs import ProgramError, program_of, run_program

FORMAT = 1
_ROWS, _JOB, _MODEL = "train.parquet", "job.json", "model.onnx"
_FOLDER = "{folder}"  # in a command: where these files are
_LARGEST = 64 << 20  # bytes of a model
_TRIED_ROWS = 1_000  # of those learnt, the newest
_OFF = 1e-3  # by which probabilities may miss 0, 1 and their sum
# what stands behind a model (calibration, intervals) is written in operators of 13 and later
_OLDEST_OPSET = 13


def command_algorithm(candidate: str, options: Options) -> Algorithm:
    """An allowed command as a kind of model; its columns are as they come, categories one-hot. Raises NoCandidateError."""
    name = command_named(candidate) or ""
    if name not in options.commands.lines:
        allowed = ", ".join(sorted(options.commands.lines)) or "none"
        raise NoCandidateError(
            f"{candidate} is no command that this service allows ({allowed}); add it to TRAINING_COMMANDS"
        )
    given = cast(Parameters, dict(options.parameters.get(candidate, {})))

    def draw(_: np.random.Generator) -> Parameters:
        return given

    def fit(task: Task, parameters: Parameters) -> Fitted:
        return _fitted(candidate, options.commands, task, parameters)

    return Algorithm(
        candidate, frozenset(LabelKind) - {LabelKind.TEXT}, Encoding.ONE_HOT, given, draw, fit
    )


def digests_of(candidates: tuple[str, ...], commands: Commands) -> dict[str, str]:
    """What the named commands were: SHA-256 of each one's line, its program and the files that the line names."""
    names = (command_named(each) or "" for each in candidates)
    return {name: _digest(commands.lines[name]) for name in names if name in commands.lines}


@dataclass(frozen=True, slots=True, eq=False)
class FittedCommand:
    """The program is gone: what it wrote is all there is of the model."""

    content: bytes
    run: OnnxRun

    def answers(self, matrix: Matrix) -> NDArray[Any]:
        return np.asarray(self.run(matrix))

    def onnx(self) -> bytes:
        return self.content

    def native(self) -> Native | None:
        return None


def _fitted(candidate: str, commands: Commands, task: Task, parameters: Parameters) -> Fitted:
    folder = _new_folder(commands.folder)
    try:
        _write(folder, task, parameters)
        line = commands.lines[command_named(candidate) or ""]
        run_program(
            candidate,
            [word.replace(_FOLDER, str(folder)) for word in line],
            folder,
            seconds=commands.seconds,
            threads=task.threads,
        )
        content = _read(candidate, folder / _MODEL)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        return _taken(content, task)
    except UnreadableArtifactError as error:
        raise ProgramError(f"what {candidate} wrote can't be used: {error}") from error


def _new_folder(wanted: Path | None) -> Path:
    """Nobody else may look into it: it holds the rows."""
    if wanted is None:
        return Path(mkdtemp(prefix="millrace-command-"))
    wanted.mkdir(mode=0o700)
    return wanted


def _write(folder: Path, task: Task, parameters: Parameters) -> None:
    classifies = task.kind is not LabelKind.REGRESSION
    columns: dict[str, Any] = {
        f"c{place}": np.ascontiguousarray(column) for place, column in enumerate(task.matrix.T)
    }
    columns["label"] = task.targets.astype(np.int64) if classifies else task.targets
    columns["weight"] = np.ones(len(task.targets)) if task.weights is None else task.weights
    pq.write_table(pa.table(columns), folder / _ROWS)
    job = {
        "format": FORMAT,
        "label": task.kind.value,
        "classes": task.classes,
        "rows": len(task.targets),
        "columns": [
            _column(place, task.columns[place] if task.columns else f"c{place}")
            for place in range(task.matrix.shape[1])
        ],
        "parameters": dict(parameters),
        "seed": task.seed,
        "threads": task.threads,
    }
    (folder / _JOB).write_text(json.dumps(job, indent=1, sort_keys=True))


def _column(place: int, name: str) -> Mapping[str, str]:
    """No feature's name holds an equals sign: what does is one value of a category, 1 where a row has it."""
    name, indicates, value = name.partition("=")
    about = {"column": f"c{place}", "name": name}
    return about | ({"kind": "indicator", "value": value} if indicates else {"kind": "number"})


def _read(candidate: str, file: Path) -> bytes:
    """A plain file of a bearable size: a link could lead anywhere."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ProgramError(
            f"{candidate} ended with code 0, but left no {_MODEL}: {error.strerror}"
        ) from error
    with os.fdopen(handle, "rb") as source:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ProgramError(f"{candidate} left a {_MODEL} that is no plain file")
        if found.st_size > _LARGEST:
            raise ProgramError(
                f"{candidate} left a {_MODEL} of {found.st_size:,} bytes; at most {_LARGEST:,}"
            )
        return source.read(_LARGEST)


def _taken(content: bytes, task: Task) -> Fitted:
    """Looked at, cleaned and tried. Raises UnreadableArtifactError."""
    width = task.matrix.shape[1]
    inspect_onnx(content, width)
    plain = _plain(content)
    run = onnx_run(plain, width)
    some = task.matrix[-_TRIED_ROWS:]
    try:
        answers = np.asarray(run(some), dtype=np.float64)
        one = np.asarray(run(some[:1]), dtype=np.float64)
    except Exception as error:  # whatever ONNX Runtime raises, and what is no numbers
        reason = " ".join(str(error).split())[:300]
        raise UnreadableArtifactError(
            f"it can't answer float32 [rows, {width}]: {reason}"
        ) from error
    problem = _wrong_with(answers, len(some), task) or _wrong_with(one, 1, task)
    if problem:
        raise UnreadableArtifactError(problem)
    return FittedCommand(plain, run)


def _plain(content: bytes) -> bytes:
    """Without what says nothing about its answers, such as random names and paths: equal models are to be equal bytes."""
    model = onnx.load_model_from_string(content)
    opset = max(
        (each.version for each in model.opset_import if not each.domain), default=_OLDEST_OPSET
    )
    if opset < _OLDEST_OPSET:
        raise UnreadableArtifactError(
            f"its operators are of ONNX's version {opset}; export it with opset {_OLDEST_OPSET} or later"
        )
    for name in ("doc_string", "producer_name", "producer_version", "domain", "metadata_props"):
        model.ClearField(name)
    model.graph.name = "model"
    for part in (model.graph, *model.graph.node):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    plain: bytes = model.SerializeToString(deterministic=True)
    return plain


def _wrong_with(answers: NDArray[np.float64], rows: int, task: Task) -> str:
    """Empty when these are answers to so many rows."""
    shapes = [(rows,), (rows, 1)] if task.kind is LabelKind.REGRESSION else [(rows, task.classes)]
    if answers.shape not in shapes:
        return f"its last output for {rows} rows is {list(answers.shape)}, not {list(shapes[-1])}"
    if not np.isfinite(answers).all():
        return "it answers rows that it has learnt with what is no number"
    if task.kind is LabelKind.REGRESSION:
        return ""
    off = max(-answers.min(), answers.max() - 1.0, np.abs(answers.sum(axis=1) - 1.0).max())
    return "" if off <= _OFF else "its last output are no probabilities that sum to 1 in each row"


def _digest(line: tuple[str, ...]) -> str:
    digest = hashlib.sha256(json.dumps(line).encode())
    for word in (program_of(line) or "", *line[1:]):
        file = Path(word)
        if file.is_absolute() and file.is_file():
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
