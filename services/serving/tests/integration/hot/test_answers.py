"""The hot path and the general way give the same bytes, and write the same to the stream: whatever is asked."""

import asyncio
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_testkit.fuzzing import effort


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
