"""The hot path and the general way give the same bytes, and write the same to the stream: whatever is asked."""

import asyncio
import gc
import itertools
import json
from dataclasses import dataclass, field

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.message import Outgoing
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import LabelKind
from millrace_serving.adapters.publisher import BusPublisher
from millrace_serving.adapters.wire import WIRE
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.hot import Plans
from millrace_serving.application.inference import Inference
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.statistics import Statistics
from millrace_serving.domain.answers import Scores
from millrace_serving.domain.columns import Columns, Rows, Signature
from millrace_serving.domain.events import PipelineApplied
from millrace_serving.entrypoints.general import Infer
from millrace_serving.entrypoints.infer import HotPath
from millrace_testkit.clock import FixedClock
from millrace_testkit.fuzzing import effort
from millrace_testkit.memory import MemoryBroker

NOON = 1_764_000_000_123_456
CLASSES = ("bus", 'tr"äm', "walk")


@dataclass
class RowModel:
    """Both ways of scoring, from one rule: what it answers depends on every column."""

    signature: Signature
    version: int
    platform: str = "fake_fake"
    memory: int = 1_000
    calls: list[str] = field(default_factory=list)

    def _raw(self, numbers: np.ndarray, categories) -> list[float]:
        with np.errstate(all="ignore"):
            told = float(np.nan_to_num(numbers, nan=0.25).astype(np.float32).sum(dtype=np.float32))
        told += self.version + sum(map(len, categories))
        if self.signature.kind is LabelKind.REGRESSION:
            return [told]
        if self.signature.kind is LabelKind.BINARY:
            part = float(np.float32(abs(told) % 1.0))
            return [1.0 - part, part]
        return [float(np.float32(abs(told) * turn % 1.0)) for turn in range(1, len(CLASSES) + 1)]

    def score(self, rows: Rows) -> Scores:
        self.calls.append("general")
        raw = np.array([self._raw(*row) for row in zip(rows.numbers, rows.categories, strict=True)])
        if self.signature.kind is LabelKind.MULTICLASS:
            return Scores(probabilities=raw)
        return Scores(values=raw[:, -1])

    def for_rows(self) -> "RowModel":
        return _ForRows(self)


class _ForRows:
    """Without a reference to the model, as the real one."""

    def __init__(self, model: RowModel) -> None:
        self._twin = RowModel(model.signature, model.version)
        self._calls = model.calls

    def score(self, numbers: np.ndarray, categories) -> list[float]:
        self._calls.append("hot")
        return self._twin._raw(numbers, categories)


class Way:
    """One instance of serving on a model, whose publisher keeps what it takes over."""

    def __init__(self, pipeline, champion, classes=()) -> None:
        self.broker = MemoryBroker()
        self.publisher = BusPublisher(
            self.broker, WIRE, instance="serving-0", started=1, chance=lambda: 0.5
        )
        signature = Signature(Columns.of(pipeline), pipeline.label.kind, classes)
        self.model = RowModel(signature, champion.version)
        self.pipelines, self.deployments, clock = Pipelines(), Deployments(), FixedClock(NOON)
        self.pipelines.apply(PipelineApplied(pipeline.name, (pipeline,)))
        self.deployments.swap(Deployment(champion, self.model))
        self.statistics = Statistics(clock, itertools.count().__next__)
        self.inference = Inference(
            self.pipelines, self.deployments, self.publisher, clock, "serving-0", self.statistics
        )
        self.plans = Plans(
            self.pipelines,
            self.deployments,
            self.publisher,
            self.inference.new_id,
            clock,
            self.statistics,
        )
        self.infer = Infer(self.inference, lambda: True)
        self.serving = HotPath(self.infer, None, self.plans, self.inference, lambda: True)

    def written(self) -> list[Outgoing]:
        return self.publisher._backlog.oldest(1_000)[0]

    async def ask(self, content: bytes, *, by_plan: bool, headers=(), pieces: int = 1):
        """Status, headers and body of the answer."""
        path = f"/v2/models/{next(iter(self.pipelines.names()))}/infer"
        scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers)}
        size = -(-len(content) // pieces) or 1
        parts = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
        coming = iter([*parts[:-1]])
        last = iter([parts[-1]])

        async def receive() -> dict:
            part = next(coming, None)
            if part is not None:
                return {"type": "http.request", "body": part, "more_body": True}
            return {"type": "http.request", "body": next(last), "more_body": False}

        if not by_plan:
            reply = await self.infer.reply(path.split("/")[3], None, headers, receive)
            return reply.status, reply.headers, reply.body
        sent: list[dict] = []

        async def send(message: dict) -> None:
            sent.append(message)

        await self.serving(scope, receive, send)
        *more, (name, length) = sent[0]["headers"]
        assert (name, int(length)) == (b"content-length", len(sent[1]["body"]))
        return sent[0]["status"], tuple(more), sent[1]["body"]


@pytest.fixture
def make_way(make_pipeline, make_champion):
    def make(kind: str = "regression", fields: str = "temp: float, hum: float, weather: category"):
        classes = CLASSES if kind == "multiclass" else ()
        pipeline = make_pipeline(kind=kind, fields=fields)
        return Way(pipeline, make_champion(3, 4), classes)

    return make


def both(make_way, content: bytes, *settings, **more):
    """The two ways' answers and records, and how often a plan answered."""

    async def ask():
        hot, general = make_way(*settings), make_way(*settings)
        answers = (
            await hot.ask(content, by_plan=True, **more),
            await general.ask(content, by_plan=False, **more),
        )
        tallies = [each.statistics.read("bikes", "3") for each in (hot, general)]
        counted = [
            (one.inferences, one.executions, one.success.count, one.fail.count) for one in tallies
        ]
        assert counted[0] == counted[1]
        return answers, (hot.written(), general.written()), hot.model.calls.count("hot")

    return asyncio.run(ask())


MIXED, NUMBERS = "temp: float, hum: float, weather: category", "temp: float, hum: float"
KINDS = ["regression", "binary", "multiclass"]

scalars = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**70), 2**70)
    | st.text(max_size=4)
    | st.sampled_from([1e308, 3.5e38, -0.0, 0, 5e-324, 2**53 + 1, 10**308, 10**309, "x" * 1_001])
)


@st.composite
def questions(draw: st.DrawFn, fields: str) -> dict:
    """Mostly right, and often something a little off."""
    usual = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-100, 100)
    off = st.integers(0, 29).map(lambda one: one == 0)

    def maybe(right: st.SearchStrategy, wrong: st.SearchStrategy):
        return draw(wrong if draw(off) else right)

    def tensor(name: str, values: st.SearchStrategy, datatype: str, width: int = 1) -> dict:
        data = [maybe(values, scalars) for _ in range(width)]
        shapes = [[1, width]] if width > 1 else [[1], [1, 1]]
        return {
            "name": maybe(
                st.just(name), st.sampled_from(["hum", "features", "", "nothing", 1, None])
            ),
            "shape": maybe(st.sampled_from(shapes), st.lists(scalars, max_size=3) | st.just([2])),
            "datatype": maybe(
                st.just(datatype), st.sampled_from(["INT64", "BOOL", "BYTES", "FP16", "FP", None])
            ),
            "data": maybe(st.just(data), st.sampled_from([[data], data * 2, [], None, {}])),
        }

    if draw(off if fields == MIXED else st.booleans()):
        inputs = [tensor("features", usual, "FP32", 2)]
    else:
        inputs = [
            tensor("temp", usual | st.none(), "FP64"),
            tensor("hum", st.integers(-5, 5), "INT64"),
        ]
        if (fields == MIXED) is not draw(off):
            inputs.append(tensor("weather", st.text(max_size=5) | st.none(), "BYTES"))
    question: dict = {"inputs": draw(st.permutations(inputs))}
    if draw(st.booleans()):
        question["id"] = maybe(st.text(max_size=6), scalars | st.just("r" * 201))
    if draw(off):
        question |= draw(
            st.sampled_from(
                [
                    {"outputs": []},
                    {"outputs": [{"name": "value"}]},
                    {"parameters": {}},
                    {"parameters": {"binary_data_output": True}},
                    {"timeout": 1},
                ]
            )
        )
    return question


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fields", [MIXED, NUMBERS])
def test_whatever_is_asked_both_ways_give_the_same_bytes_and_write_the_same_records(
    make_way, kind, fields
):
    answered_by_plan = 0

    @effort(150)
    @given(questions(fields), st.booleans(), st.integers(1, 3))
    def holds(question, is_spaced, pieces):
        nonlocal answered_by_plan
        text = json.dumps(question, indent=1 if is_spaced else None, ensure_ascii=is_spaced)
        content = text.encode(errors="surrogatepass")

        (hot, general), (hot_records, general_records), hot_calls = both(
            make_way, content, kind, fields, pieces=pieces
        )

        assert hot == general
        assert hot_records == general_records
        answered_by_plan += hot_calls

    holds()
    assert answered_by_plan > 10


ORDINARY = {
    "a matrix": (NUMBERS, {"inputs": [{"name": "features", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 2]}]}),
    "with an id": (NUMBERS, {"id": "r1", "inputs": [{"name": "features", "shape": [1, 2], "datatype": "FP64", "data": [0.5, None]}]}),
    "columns": (MIXED, {"inputs": [
        {"name": "weather", "shape": [1], "datatype": "BYTES", "data": ["räin"]},
        {"name": "hum", "shape": [1, 1], "datatype": "INT32", "data": [3]},
        {"name": "temp", "shape": [1], "datatype": "FP64", "data": [None]},
    ]}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ORDINARY)
def test_what_nearly_all_ask_is_answered_by_the_plan(make_way, kind, name):
    fields, question = ORDINARY[name]

    (hot, general), (records, others), hot_calls = both(
        make_way, orjson.dumps(question), kind, fields
    )

    assert hot_calls == 1
    assert hot == general
    assert hot[0] == 200
    assert records == others
    assert len(records) == 1


TENSOR = b'{"name":"features","shape":[1,2],"datatype":"FP64","data":%b}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"\xef\xbb\xbf{}",
        b'{"inputs":[%b]}' % (TENSOR % b"[1e400,1]"),
        b'{"inputs":[%b]}' % (TENSOR % b"[-0,-0.0]"),
        b'{"inputs":[%b]}' % (TENSOR % b"[1E2,1e-400]"),
        b'{"inputs":[%b]}' % (TENSOR % b"[01,1]"),
        b'{"inputs":[%b]}' % (TENSOR % b"[NaN,1]"),
        b'{"inputs":[%b]}' % (TENSOR % b"[1.,1]"),
        b'{"inputs":[%b]}' % (TENSOR % b"[18446744073709551616,9223372036854775809]"),
        b'{"inputs":[%b]}' % (TENSOR % b"[123456789012345678901234567890123456789,0.1]"),
        b'{"inputs":[%b]}' % (TENSOR % b"[0.1000000000000000055511151231257827021181583404541015625,1]"),
        b'{"inputs":[%b]} ' % (TENSOR % b"[1,2]"),
        b'{"inputs":[%b]}x' % (TENSOR % b"[1,2]"),
        b'{"inputs":[%b],}' % (TENSOR % b"[1,2]"),
        b'{"id":"\\ud800","inputs":[%b]}' % (TENSOR % b"[1,2]"),
        b'{"id":"\\ud83d\\ude00","inputs":[%b]}' % (TENSOR % b"[1,2]"),
        b'{"id":"\xff","inputs":[%b]}' % (TENSOR % b"[1,2]"),
        b'{"id":"\xed\xa0\x80","inputs":[%b]}' % (TENSOR % b"[1,2]"),
        b'{"id":"a\nb","inputs":[%b]}' % (TENSOR % b"[1,2]"),
        b'{"id":"\\u0000","inputs":[%b]}' % (TENSOR % b"[1,2]"),
        b'{"id":"first","id":"last","inputs":[%b]}' % (TENSOR % b"[1,2]"),
        b'{"id":null,"inputs":[%b]}' % (TENSOR % b"[1,2]"),
        b'{"\\u0069d":"escaped","inputs":[%b]}' % (TENSOR % b"[1,2]"),
        b'{"inputs":[],"inputs":[%b]}' % (TENSOR % b"[1,2]"),
        b'{"inputs":[%b]}' % (TENSOR % b"[1,2],\"data\":[3,4]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_json_at_its_edges_is_read_alike(make_way, kind, content):
    (hot, general), (records, others), _ = both(make_way, content, kind, NUMBERS)

    assert hot == general
    assert records == others


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-encoding", b"gzip")],
        [(b"content-encoding", b"identity")],
        [(b"inference-header-content-length", b"2")],
        [(b"accept-encoding", b"gzip, deflate")],
    ],
)
def test_headers_that_change_the_meaning_are_seen(make_way, headers):
    content = orjson.dumps(ORDINARY["a matrix"][1])

    (hot, general), (records, others), _ = both(
        make_way, content, "binary", NUMBERS, headers=headers
    )

    assert hot == general
    assert records == others


async def test_a_promotion_changes_the_plan_of_the_next_request_and_of_none_before(
    make_way, make_champion
):
    way = make_way()
    before = way.plans.plan("bikes")
    way.deployments.swap(Deployment(make_champion(4, 5), RowModel(way.model.signature, 4)))
    after = way.plans.plan("bikes")
    content = orjson.dumps(ORDINARY["columns"][1])

    assert [orjson.loads(plan.answer(content))["model_version"] for plan in (before, after)] == [
        "3",
        "4",
    ]
    assert way.plans.plan("bikes") is after


async def test_the_same_model_under_a_newer_epoch_has_a_plan_of_its_own(make_way, make_champion):
    way = make_way()
    before = way.plans.plan("bikes")
    way.deployments.swap(Deployment(make_champion(3, 9), way.model))

    assert way.plans.plan("bikes") is not before


async def test_a_plan_goes_with_its_model(make_way, make_champion):
    way = make_way()
    assert way.plans.plan("bikes")
    way.deployments._hot.clear()
    way.model = None
    gc.collect()

    assert not way.plans._held


async def test_there_is_no_plan_where_only_the_general_way_knows_what_to_say(make_way):
    way = make_way()

    assert way.plans.plan("taxis") is None
    way.deployments._hot.clear()
    assert way.plans.plan("bikes") is None
    way.deployments._cold[PipelineName("bikes")] = object()
    assert way.plans.plan("bikes") is None


async def test_without_room_the_general_way_waits_for_it(make_way):
    way = make_way()
    way.publisher._room = 0
    content = orjson.dumps(ORDINARY["columns"][1])
    assert way.plans.plan("bikes").answer(content) is None

    asking = asyncio.create_task(way.ask(content, by_plan=True))
    await asyncio.sleep(0.01)
    assert not asking.done()
    way.publisher._room = 10
    way.publisher._freed.set()

    assert (await asking)[0] == 200
    assert len(way.written()) == 1


async def test_while_too_many_are_under_way_the_refusal_has_the_general_ways_words(make_way):
    way = make_way()
    way.publisher._most_requests = 0
    content = orjson.dumps(ORDINARY["columns"][1])

    hot = await way.ask(content, by_plan=True)

    assert hot == await way.ask(content, by_plan=False)
    assert (hot[0], dict(hot[1])[b"retry-after"]) == (503, b"2")
    with pytest.raises(TransientError):
        way.publisher.expecting()
