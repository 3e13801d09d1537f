"""Scoring: a model version's answers for rows of vectors, the same wherever it is loaded."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from millrace_artifacts.artifact import Artifact, Example, Model, Runtime
from millrace_artifacts.errors import ArtifactError, ExamplesDifferError, UnreadableArtifactError
from millrace_artifacts.inspection import inspect_onnx
from millrace_artifacts.sentence_encoders import SentenceEncoder, open_encoder
from millrace_artifacts.signature import Encoder, Matrix, Numbers, Signature
from millrace_artifacts.single_row import BoundOnnx, RowScorer
from millrace_kernel.pipeline import LabelKind

# Far above what processors differ by (about 1e-6), far below what any wrong encoding or file gives
EXAMPLE_TOLERANCE = 1e-4
_MOST_ROWS = 1_024  # at once: for each of them nearest neighbours take 40 KB of memory and more
_FATAL_ONLY = 4  # ONNX Runtime's log level: it prints to stderr what it raises anyway


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Answers for some rows.

    `values` is float64 [rows]: regression the value, binary the probability of the positive class, multiclass the index
    in `Signature.classes` of the most probable class, text the index there of the answer. `probabilities` is float64 [rows, classes] in the order of
    `Signature.classes`, None for regression and text. A linear model can answer infinity or NaN to absurd inputs.
    `quantiles` is float64 [rows, quantiles] in the order of `levels` (`Signature.quantiles`), `interval` float64 [rows, 2], its
    lower and upper end: None where the signature has none.
    """

    values: Numbers
    probabilities: Numbers | None
    quantiles: Numbers | None = None
    interval: Numbers | None = None
    levels: tuple[float, ...] = ()


class Scorer:
    """A loaded model. Single-threaded inside, and safe to share between threads."""

    def __init__(
        self, signature: Signature, run: "Run", encoder: SentenceEncoder | None = None
    ) -> None:
        """`encoder`: what the signature's texts are read by, where they name one."""
        self.signature = signature
        self._held = encoder  # as long as this scorer is there, it stays open
        self._encoder = Encoder(signature)
        self._run = run

    def score(self, numbers: Numbers, categories: Sequence[Sequence[str]]) -> Scores:
        """Answers for float64 [rows, numbers] (NaN: missing) and [rows][categories]; see `Encoder.encode`.

        Raises WrongColumnsError when the rows do not have the signature's columns.
        """
        return self.score_encoded(self._encoder.encode(numbers, categories))

    def score_encoded(self, matrix: Matrix) -> Scores:
        """Answers for rows that are encoded already: float32 [rows, width]."""
        if not len(matrix):
            return as_scores(self.signature, np.empty((0, max(1, len(self.signature.classes)))))
        return as_scores(self.signature, self._run(matrix))

    def for_rows(self) -> RowScorer | None:
        """The same model for single rows, for one thread alone; None where there is no faster way than `score`, where an
        answer is more than a value or probabilities, or where it reads free text."""
        if self.signature.extras or self.signature.texts:
            return None
        return self._run.for_rows(self.signature) if isinstance(self._run, OnnxRun) else None


class Run(Protocol):
    def __call__(self, matrix: Matrix, /) -> Any: ...  # noqa: ANN401 - whatever array the library makes


class OnnxRun:
    """Runs an ONNX Runtime session of one input, float32 [rows, width]; its last output is the answer."""

    def __init__(self, session: Any) -> None:  # noqa: ANN401 - onnxruntime is not typed
        self._session = session
        self._source, self._answer = session.get_inputs()[0].name, session.get_outputs()[-1].name

    def __call__(self, matrix: Matrix, /) -> Any:  # noqa: ANN401 - onnxruntime is not typed
        if len(matrix) <= _MOST_ROWS:
            return self._session.run([self._answer], {self._source: matrix})[0]
        parts = (matrix[start : start + _MOST_ROWS] for start in range(0, len(matrix), _MOST_ROWS))
        return np.concatenate([self(part) for part in parts])

    def for_rows(self, signature: Signature) -> RowScorer | None:
        matrix = np.full((1, signature.width), np.nan, dtype=np.float32)
        try:
            bound = BoundOnnx(self._session, self._source, self._answer, matrix)
        except ValueError:  # it answers in another form, which only `as_scores` knows to read
            return None
        return RowScorer(signature, matrix, bound)


def load_scorer(artifact: Artifact) -> Scorer:
    """The model that answers, after it has passed its own examples.

    Raises UnreadableArtifactError when the library refuses the model, ExamplesDifferError when it answers otherwise
    than it did when it was written: then another library version, or a damaged file, would answer users wrongly.
    """
    scorer = scorer_of(artifact.model)
    try:
        _check_examples(scorer, artifact.examples)
    except ArtifactError:
        raise
    except Exception as error:  # whatever its library raises when it answers for the first time
        raise UnreadableArtifactError(f"the model can't answer its examples: {error}") from error
    return scorer


def load_measured(artifact: Artifact) -> Scorer:
    """The model that `Artifact.metrics` are of: the one to compare a candidate with. Raises UnreadableArtifactError."""
    return scorer_of(artifact.measured or artifact.model)


def as_scores(signature: Signature, raw: Numbers) -> Scores:
    """What a library gave, as scores: [rows] or [rows, 1] values, [rows] probabilities of class 1, or [rows, classes]."""
    answers = np.asarray(raw, dtype=np.float64)
    answers = answers[:, np.newaxis] if answers.ndim == 1 else answers
    match signature.label_kind:
        case LabelKind.REGRESSION:
            return _of_regression(signature, answers)
        case LabelKind.BINARY:
            both = np.empty((len(answers), 2))
            both[:, 1] = answers[:, -1]
            np.subtract(1.0, both[:, 1], out=both[:, 0])
            return Scores(both[:, 1], both)
        case LabelKind.MULTICLASS:
            return Scores(np.argmax(answers, axis=1).astype(np.float64), answers)
        case LabelKind.TEXT:
            return Scores(answers[:, 0], None)


def _of_regression(signature: Signature, answers: Numbers) -> Scores:
    """The value, then its quantiles, then its interval's ends."""
    if not signature.extras:
        return Scores(answers[:, 0], None)
    if len(answers) and answers.shape[1] != 1 + signature.extras:
        raise UnreadableArtifactError(
            f"the model answers {answers.shape[1]} numbers; its signature has a value and {signature.extras} more"
        )
    if not len(answers):
        answers = np.empty((0, 1 + signature.extras))
    levels = signature.quantiles
    return Scores(
        answers[:, 0],
        None,
        answers[:, 1 : 1 + len(levels)] if levels else None,
        None if signature.interval is None else answers[:, -2:],
        levels,
    )


def scorer_of(model: Model) -> Scorer:
    """One model of an artifact, unexamined. Raises UnreadableArtifactError when its library refuses it."""
    encoder = None if model.encoder is None else open_encoder(model.encoder)
    return Scorer(model.signature, _run_of(model), encoder)


def _run_of(model: Model) -> Run:
    match model.runtime:
        case Runtime.ONNX:
            return onnx_run(model.onnx or b"", model.signature.width)
        case Runtime.NATIVE:
            return _xgboost_run(model.native.content if model.native else b"")


def onnx_run(content: bytes, width: int) -> OnnxRun:
    """Runs a model of one input, float32 [rows, width]; its last output is the answer.

    Raises UnreadableArtifactError for a model that is none, or that eats something else.
    """
    inspect_onnx(content, width)
    # here, not above: a process that only writes artifacts or reads their manifests needs no ONNX Runtime
    onnxruntime = importlib.import_module("onnxruntime")
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    refusals = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.RuntimeException,
        UnicodeDecodeError,  # it quotes a name of the file in what it would say
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except refusals as error:
        raise UnreadableArtifactError(
            f"ONNX Runtime {onnxruntime.__version__} refuses the model: {error}"
        ) from error
    if [each.shape[-1] for each in session.get_inputs()] != [width]:
        raise UnreadableArtifactError(f"the ONNX model does not eat one matrix of {width} columns")
    if not session.get_outputs():
        raise UnreadableArtifactError("the ONNX model gives no answer")
    return OnnxRun(session)


def _xgboost_run(content: bytes) -> Run:
    xgboost = importlib.import_module("xgboost")  # seconds to import, needed by few models
    try:
        booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(content))
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise UnreadableArtifactError(
            f"XGBoost {xgboost.__version__} refuses the model: {error}"
        ) from error

    def run(matrix: Matrix) -> Any:  # noqa: ANN401 - xgboost's answer is typed loosely
        return booster.inplace_predict(matrix)

    return run


def _check_examples(scorer: Scorer, examples: tuple[Example, ...]) -> None:
    if not examples:
        return
    numbers = np.array([row.numbers for row in examples], dtype=np.float64).reshape(
        len(examples), -1
    )  # None becomes NaN
    scores = scorer.score(numbers, [row.categories for row in examples])
    if scores.probabilities is None:
        found, expected = scores.values, np.array([row.value for row in examples])
        scale = float(np.max(np.abs(expected)))
    else:
        found, expected = scores.probabilities, np.array([row.probabilities for row in examples])
        scale = 1.0
    if found.shape != expected.shape or not np.allclose(
        found, expected, rtol=0.0, atol=EXAMPLE_TOLERANCE * scale
    ):
        raise ExamplesDifferError(
            f"{scorer.signature.pipeline}: the model answers {found.tolist()} to its own examples, "
            f"but answered {expected.tolist()} when it was written; train again, or use the libraries of its manifest"
        )
