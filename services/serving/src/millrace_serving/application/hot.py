"""Requests of one row, written as nearly all are: answered by a plan that was made once for each deployment.

A plan takes what it surely understands and gives the very bytes that `Inference` would; of anything else it says so, and
the request goes the general way.
"""

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import ReferenceType, ref

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.time import Clock
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.errors import ModelNotLoadedError, UnknownModelError
from millrace_serving.application.inference import response_of
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.ports import LoadedModel, RowLog, RowLogs, RowModel, RowScorer
from millrace_serving.application.routing import Routing
from millrace_serving.application.statistics import Statistics
from millrace_serving.domain.answers import Answer
from millrace_serving.domain.champions import Champion
from millrace_serving.domain.columns import MISSING_CATEGORY, MISSING_NUMBER, Columns, Signature
from millrace_serving.domain.outputs import THRESHOLD, output_tensors
from millrace_serving.domain.tensors import ALL_NUMBERS, FLOATS, INTEGERS, LONGEST_ID, LONGEST_TEXT

_ONE_ROW = ([1], [1, 1])
_SOME_ID = "\0id"  # stands where a template has its hole: no class or version is written so
_SOME_VALUES = (
    0.8251953125,
    0.1748046875,
)  # the same for a value: one on each side of the threshold

_LONGEST_NUMBER = len("-1.2345678901234567e-308,")

Value = float | int | str | None
# the value or the class and its probabilities; then the response before the id, and after it
_Written = tuple[float | None, str, Sequence[float], bytes, bytes]


class Said(NamedTuple):
    """What a plan answered, and its response as JSON before the id and after it."""

    identity: str
    value: float | None
    class_label: str
    probabilities: Sequence[float]
    head: bytes
    tail: bytes


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: str
    data: list[Value]


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    """A request without anything special: what it asks beside the answer itself, a plan does not know."""

    inputs: list[_Tensor]
    id: str = ""


_read = msgspec.json.Decoder(_Request).decode


class Plan:
    """How single rows are answered by one deployment. For the event loop's thread alone."""

    def __init__(
        self,
        champion: Champion,
        signature: Signature,
        scorer: RowScorer,
        log: RowLog,
        new_id: Callable[[], str],
        clock: Clock,
        statistics: Statistics,
    ) -> None:
        self.signature = signature
        self.version = str(champion.version)
        self._statistics = statistics
        self._asked_as = champion.pipeline, self.version
        self._layout = _Layout(signature.columns)
        self._writer = _writer_of(champion, signature)
        # bytes of a response, unless its id is full of what JSON escapes
        self.longest = self._writer.longest + LONGEST_ID
        self._scorer = scorer
        self._log = log
        self._new_id = new_id
        self._clock = clock
        width = len(signature.columns.numbers)
        self._raw = bytearray(8 * width)
        self._numbers = np.frombuffer(self._raw, dtype="<f8")
        self._pack_into = struct.Struct(f"<{width}d").pack_into

    def answer(self, content: bytes) -> bytes | None:
        """The response to this body; its prediction is on its way. None: not for a plan, and nothing has happened."""
        began = self._statistics.nanoseconds()
        try:
            request = _read(content)
        except (msgspec.DecodeError, UnicodeDecodeError):  # also what is JSON, but another request
            return None
        row = self._layout.row(request.inputs)
        if row is None or len(request.id) > LONGEST_ID or not self._log.has_room:
            return None
        numbers, categories = row
        if not self._put(numbers):
            return None
        said = self._said(request.id, categories, began)
        if said is None:
            return None
        return b"%b%b%b" % (said.head, orjson.dumps(said.identity), said.tail)

    def answer_numbers(self, identity: str, numbers: NDArray[Any]) -> "Said | None":
        """The same for a row that is numbers already, of any type: [columns]. Its model takes no categories."""
        began = self._statistics.nanoseconds()
        if len(identity) > LONGEST_ID or not self._log.has_room:
            return None
        self._numbers[:] = numbers
        return self._said(identity, [], began)

    def _said(self, identity: str, categories: list[str], began: int) -> "Said | None":
        """Score the row in the buffer, which was begun to be read at `began`, and log what is said about it."""
        nanoseconds = self._statistics.nanoseconds
        read = nanoseconds()
        scores = self._scorer.score(self._numbers, categories)
        scored = nanoseconds()
        written = self._writer.written(scores)
        if written is None:
            return None
        value, class_label, probabilities, head, tail = written
        said = Said(identity or self._new_id(), value, class_label, probabilities, head, tail)
        self._log.add(
            said.identity,
            self._clock.now(),
            bytes(self._raw),
            categories,
            value,
            class_label,
            probabilities,
        )
        tally = self._statistics.tally(*self._asked_as)
        tally.answered(1, read - began, scored - read, nanoseconds() - scored)
        return said

    def _put(self, numbers: list[Value]) -> bool:
        """Whether these are numbers, as many as there are columns: then they stand in the buffer."""
        try:
            self._pack_into(self._raw, 0, *numbers)
        except struct.error:
            if None not in numbers:
                return False
            return self._put([MISSING_NUMBER if one is None else one for one in numbers])
        except OverflowError:
            return False
        return True


class Plans:
    """The plans of the deployments that answer now.

    Taken once for each request: a promotion makes the next one find another plan, and changes nothing in this one. A plan
    goes when its model does, so that a model that is unloaded leaves no memory behind.
    """

    def __init__(
        self,
        pipelines: Pipelines,
        deployments: Deployments,
        logs: RowLogs,
        new_id: Callable[[], str],
        clock: Clock,
        statistics: Statistics,
        routing: Routing | None = None,
    ) -> None:
        self._routing = routing
        self._pipelines = pipelines
        self._deployments = deployments
        self._logs = logs
        self._new_id = new_id
        self._clock = clock
        self._statistics = statistics
        self._held: dict[str, _Held] = {}

    def plan(self, name: str) -> Plan | None:
        """How to answer for a pipeline; None: the general way, where a canary shares the entities out."""
        if self._routing is not None and self._routing.has_canary(PipelineName(name)):
            return None
        try:
            self._pipelines.current(name)
            deployment = self._deployments.current(PipelineName(name))
        except (ModelNotLoadedError, UnknownModelError):
            return None
        if deployment is None:
            return None
        held = self._held.get(name)
        if (
            held is None
            or held.champion is not deployment.champion
            or held.model() is not deployment.model
        ):
            held = self._hold(name, deployment)
        return held.plan

    def _hold(self, name: str, deployment: Deployment) -> "_Held":
        def forget(model: ReferenceType[LoadedModel]) -> None:
            held = self._held.get(name)
            if held is not None and held.model is model:
                del self._held[name]

        plan = self._made(deployment)
        held = self._held[name] = _Held(ref(deployment.model, forget), deployment.champion, plan)
        return held

    def _made(self, deployment: Deployment) -> Plan | None:
        champion, model = deployment.champion, deployment.model
        scorer = model.for_rows() if isinstance(model, RowModel) else None
        if scorer is None or "" in model.signature.classes:
            return None
        log = self._logs.row_log(champion)
        return Plan(
            champion, model.signature, scorer, log, self._new_id, self._clock, self._statistics
        )


@dataclass(frozen=True, slots=True)
class _Held:
    """Without a reference to the model that would keep it in memory."""

    model: ReferenceType[LoadedModel]
    champion: Champion
    plan: Plan | None


class _Layout:
    """Where a request's tensors go."""

    def __init__(self, columns: Columns) -> None:
        names = columns.numbers + columns.categories
        self._places = {name: place for place, name in enumerate(names)}
        self._width = len(columns.numbers)
        self._has_matrix = not columns.categories and ALL_NUMBERS not in names
        self._matrix_shape = [1, self._width]

    def row(self, tensors: list[_Tensor]) -> tuple[list[Value], list[str]] | None:
        """The numbers, whatever is sent as such, and the texts of a request of one row; None: it is not sure to be one."""
        if len(tensors) == 1 and tensors[0].name == ALL_NUMBERS and self._has_matrix:
            [tensor] = tensors
            fits = tensor.shape == self._matrix_shape and tensor.datatype in FLOATS
            return (tensor.data, []) if fits else None
        places, width = self._places, self._width
        values = {tensor.name: tensor for tensor in tensors}
        if len(tensors) != len(places) or values.keys() != places.keys():
            return None
        row: list[Value] = [None] * len(places)
        for tensor in tensors:
            if tensor.shape not in _ONE_ROW or len(tensor.data) != 1:
                return None
            place, value = places[tensor.name], tensor.data[0]
            fits = (_is_number if place < width else _is_text)(tensor.datatype, value)
            if not fits:
                return None
            row[place] = value
        return row[:width], [str(text or MISSING_CATEGORY) for text in row[width:]]


def _is_number(datatype: str, value: Value) -> bool:
    if datatype in FLOATS:
        return not isinstance(value, str)
    return datatype in INTEGERS and (value is None or isinstance(value, int))


def _is_text(datatype: str, value: Value) -> bool:
    if datatype != "BYTES":
        return False
    return value is None or (isinstance(value, str) and len(value) <= LONGEST_TEXT)


class _Template:
    """A response with two holes: for the id, and for what the model says."""

    def __init__(self, champion: Champion, signature: Signature, sample: Answer) -> None:
        """Cut out of a real response, so that both ways of answering are written alike."""
        outputs = output_tensors(signature, [sample], ())
        response = response_of(champion.pipeline, str(champion.version), _SOME_ID, outputs)
        self.head, _, rest = orjson.dumps(response).partition(orjson.dumps(_SOME_ID))
        said = sample.probabilities or (sample.value,)
        self._middle, _, self._end = rest.rpartition(orjson.dumps(said)[1:-1])

    @property
    def size(self) -> int:
        """Bytes of a response without what its holes hold."""
        return len(self.head) + len(self._middle) + len(self._end)

    def tail(self, said: bytes) -> bytes:
        """What comes after the id."""
        return b"%b%b%b" % (self._middle, said, self._end)


@dataclass(frozen=True, slots=True)
class _Values:
    """Writes regressions and probabilities of the positive class."""

    place: int  # of the value in what the model answers
    below: _Template
    above: _Template  # the threshold

    @property
    def longest(self) -> int:
        """Bytes of a response without its id."""
        return max(self.below.size, self.above.size) + _LONGEST_NUMBER

    def written(self, scores: list[float]) -> _Written | None:
        value = scores[self.place]
        if not math.isfinite(value):
            return None
        template = self.above if value >= THRESHOLD else self.below
        return value, "", (), template.head, template.tail(orjson.dumps(value))


@dataclass(frozen=True, slots=True)
class _Classes:
    """Writes the most probable class, and the probabilities of all."""

    classes: tuple[str, ...]
    templates: tuple[_Template, ...]

    @property
    def longest(self) -> int:
        """Bytes of a response without its id."""
        return max(each.size for each in self.templates) + _LONGEST_NUMBER * len(self.classes)

    def written(self, scores: list[float]) -> _Written | None:
        if len(scores) != len(self.classes) or not all(map(math.isfinite, scores)):
            return None
        winner = scores.index(max(scores))
        template = self.templates[winner]
        tail = template.tail(orjson.dumps(scores)[1:-1])
        return None, self.classes[winner], scores, template.head, tail


def _writer_of(champion: Champion, signature: Signature) -> _Values | _Classes:
    kind, classes = signature.kind, signature.classes
    if kind is LabelKind.MULTICLASS:
        probabilities = (_SOME_VALUES[0],) * len(classes)
        samples = [Answer(None, text, probabilities) for text in classes]
        return _Classes(classes, tuple(_Template(champion, signature, each) for each in samples))
    above, below = (_Template(champion, signature, Answer(value)) for value in _SOME_VALUES)
    return _Values(-1 if kind is LabelKind.BINARY else 0, below, above)
