"""Dead letters: what they say, what a replay of one does and to whom, and the brake; on both forms."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from millrace_bus.dead_letters import CONNECT, SPRING, Brake, TooManyDeadLettersError, dead_letter
from millrace_bus.fence import REPLAY_FOR, REPLAY_OF
from millrace_bus.follower import Follower
from millrace_bus.sql import Database
from millrace_bus.sql_worker import SqlWorker
from millrace_bus.stream import StreamWorker
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Message, Outgoing
from millrace_kernel.errors import PermanentError, TransientError
from millrace_telemetry.tracing import Tracing
from millrace_testkit.counting import WIRE, Counted, Counting, Seen, answers_in, seen_record
from millrace_testkit.counting_readers import sql_reader, stream_reader
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker, MemoryRecord

EVENTS, FEATURES, DLQ = "millrace.events", "millrace.features", "millrace.events.dlq"


class Picky(Counting):
    """Refuses the entities it is told to, until a fixed deployment no longer does."""

    def __init__(self, *refused: str) -> None:
        super().__init__()
        self.refused = set(refused)

    def next(self, known: tuple[int, float] | None, seen: Seen) -> Counted:
        if seen.entity in self.refused:
            raise PermanentError(f"{seen.entity} is not understood yet")
        return super().next(known, seen)


class Form:
    """One of the two ways a service reads, with its own store; a `worker` is one deployment of it."""

    def __init__(self, worker: Callable[..., StreamWorker | SqlWorker]) -> None:
        self.worker = worker

    def working(self, *arguments: Any, **settings: Any) -> AbstractAsyncContextManager[None]:
        return running(self.worker(*arguments, **settings))


@pytest.fixture(params=["stream", "sqlite", pytest.param("postgres", marks=pytest.mark.db)])
def form(
    request: pytest.FixtureRequest, tmp_path: Path, new_database: Callable[[str], Database]
) -> Form:
    if request.param == "stream":
        return Form(lambda broker, heart, **more: stream(broker, tmp_path, heart, **more))
    database = new_database(request.param)
    return Form(lambda broker, heart, **more: sql_reader(broker, database, heart, **more))


def stream(
    broker: MemoryBroker, folder: Path, heart: Counting, name: str = "features", **more: Any
) -> StreamWorker:
    """With a folder for each service."""
    return stream_reader(broker, folder / name, heart, name=name, **more)


@asynccontextmanager
async def world(*entities: str) -> AsyncIterator[MemoryBroker]:
    """A broker on which these events stand in partition 0, each with its number."""
    broker = MemoryBroker()
    await ensure_topics(broker)
    for number, entity in enumerate(entities):
        await broker.producer().send(EVENTS, 0, [seen_record(number, entity)])
    yield broker


def totals(broker: MemoryBroker) -> dict[str, tuple[int, float]]:
    return {
        answer.entity: (answer.count, answer.total)
        for answer in answers_in(broker.records(FEATURES))
    }


def again(letter: MemoryRecord, reader: str | None = None) -> Outgoing:
    """What `millrace dlq replay` appends: the tests of the command hold it to the same."""
    said = dict(letter.headers)
    headers = [h for h in letter.headers if not h[0].startswith((CONNECT, SPRING, "millrace-"))]
    place = [said[f"{CONNECT}{name}"].decode() for name in ("topic", "partition", "offset")]
    service = reader or said[f"{SPRING}original-consumer-group"].decode().removeprefix("millrace-")
    headers += [(REPLAY_FOR, service.encode()), (REPLAY_OF, "/".join(place).encode())]
    return Outgoing(EVENTS, letter.key, letter.value, headers)


def source_of(record: MemoryRecord) -> str:
    """Which service wrote it: the middle of `millrace/<service>/<topic>/<partition>`."""
    return dict(record.headers)["ce_source"].decode().split("/")[1]


async def replay(broker: MemoryBroker, *letters: MemoryRecord, reader: str | None = None) -> None:
    await broker.producer().send(EVENTS, 0, [again(letter, reader) for letter in letters])


async def all_read(broker: MemoryBroker, reader: str = "features") -> None:
    """The reader has told its group that it is through, so whatever it was to do is done."""

    def through() -> bool:
        told = broker.group_offsets(f"millrace-{reader}")
        return all(told.get(place, 0) == len(broker.logs[place]) for place in broker.places(EVENTS))

    await eventually(through, what="all is read")


QUICK = {"group_commit_seconds": 0.0}


async def test_a_replayed_letter_is_handled_once_however_often_it_is_replayed(form: Form) -> None:
    async with world("a", "bad", "a", "bad", "b") as broker:
        heart = Picky("bad")
        async with form.working(broker, heart, **QUICK):
            await eventually(
                lambda: (
                    len(answers_in(broker.records(FEATURES))) == 3 and len(broker.records(DLQ)) == 2
                )
            )
            heart.refused.clear()
            first, second = broker.records(DLQ)
            await replay(broker, second, first, second)
            await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 5)
            await replay(broker, first)
            await all_read(broker)
        async with form.working(broker, heart, **QUICK):  # a restart forgets none of it
            await replay(broker, first, second)
            await all_read(broker)
        assert totals(broker) == {"a": (2, 2.0), "bad": (2, 4.0), "b": (1, 4.0)}
        assert len(answers_in(broker.records(FEATURES))) == 5
        assert len(broker.records(DLQ)) == 2


async def test_a_replay_keeps_its_id_so_what_follows_from_it_has_the_id_it_would_have_had(
    form: Form,
) -> None:
    async with world("bad") as broker:
        heart = Picky("bad")
        async with form.working(broker, heart, **QUICK):
            await eventually(lambda: broker.records(DLQ))
            heart.refused.clear()
            await replay(broker, *broker.records(DLQ))
            await eventually(lambda: answers_in(broker.records(FEATURES)))
        said = dict(broker.records(FEATURES)[0].headers)
        assert said["ce_causationid"] == b"id-0"
        assert said["ce_recordedtime"] == b"2026-01-01T00:00:00.000000Z"
        assert said["ce_sequence"] == b"0000000000000001.00000"  # of the place where it stands now


async def test_a_replay_is_for_the_service_that_rejected_it_and_no_other(tmp_path: Path) -> None:
    async with world("a", "bad", "b") as broker:
        features, other = Picky("bad"), Counting()
        async with (
            running(stream(broker, tmp_path, features, "features", **QUICK)),
            running(stream(broker, tmp_path, other, "training", **QUICK)),
        ):
            await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 5)
            features.refused.clear()
            await replay(broker, *broker.records(DLQ))
            await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 6)
            # one that names the wrong reader finds that this one has rejected nothing
            await replay(broker, *broker.records(DLQ), reader="training")
            await all_read(broker, "features")
            await all_read(broker, "training")
        by_source = Counter(dict(r.headers)["ce_source"] for r in broker.records(FEATURES))
        assert set(by_source.values()) == {3}


async def test_of_two_services_that_rejected_a_message_each_gets_its_own_letter_back(
    tmp_path: Path,
) -> None:
    async with world("bad") as broker:
        features, training = Picky("bad"), Picky("bad")
        async with (
            running(stream(broker, tmp_path, features, "features", **QUICK)),
            running(stream(broker, tmp_path, training, "training", **QUICK)),
        ):
            await eventually(lambda: len(broker.records(DLQ)) == 2)
            features.refused.clear()
            training.refused.clear()
            groups = [
                dict(r.headers)[SPRING + "original-consumer-group"] for r in broker.records(DLQ)
            ]
            mine = broker.records(DLQ)[groups.index(b"millrace-features")]
            theirs = broker.records(DLQ)[groups.index(b"millrace-training")]
            await replay(broker, mine)
            await all_read(broker, "features")
            await all_read(broker, "training")
            assert [source_of(record) for record in broker.records(FEATURES)] == ["features"]
            await replay(broker, theirs)
            await all_read(broker, "training")
        assert [source_of(r) for r in broker.records(FEATURES)] == ["features", "training"]


async def test_a_replay_goes_on_with_its_trace_and_says_what_it_repeats(tmp_path: Path) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with world() as broker:
        heart = Picky("bad")
        traced = seen_record(0, "bad")
        traced.headers.append(("traceparent", trace.encode()))
        await broker.producer().send(EVENTS, 0, [traced])
        reader = stream(broker, tmp_path, heart, tracing=Tracing(provider), **QUICK)
        async with running(reader):
            await eventually(lambda: broker.records(DLQ))
            heart.refused.clear()
            await replay(broker, *broker.records(DLQ))
            await eventually(lambda: answers_in(broker.records(FEATURES)))
            await all_read(broker)
    handled = [span for span in spans.get_finished_spans() if span.name.startswith("process")]
    said = [(span.attributes or {}).get("millrace.replay.of") for span in handled]
    assert said == [None, "millrace.events/0/0"]
    assert {f"{span.context.trace_id:032x}" for span in handled} == {trace[3:35]}
    assert all(span.links for span in handled)


async def test_a_lost_store_that_handles_the_original_at_last_does_not_handle_its_replay_too(
    tmp_path: Path,
) -> None:
    async with world("bad", "bad") as broker:
        heart = Picky("bad")
        async with running(stream(broker, tmp_path / "one", heart, **QUICK)):
            await eventually(lambda: len(broker.records(DLQ)) == 2)
            heart.refused.clear()
            await replay(broker, *broker.records(DLQ))
            await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 2)
        async with running(stream(broker, tmp_path / "two", heart, **QUICK)):
            await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 4)
            await broker.producer().send(EVENTS, 0, [seen_record(2, "bad")])
            await eventually(lambda: len(answers_in(broker.records(FEATURES))) >= 5)
        assert answers_in(broker.records(FEATURES))[-1] == Counted("e2", "bad", 3, 3.0)


async def test_a_letter_that_dies_again_can_be_replayed_again(form: Form) -> None:
    async with world("bad") as broker:
        heart = Picky("bad")
        async with form.working(broker, heart, **QUICK):
            await eventually(lambda: len(broker.records(DLQ)) == 1)
            await replay(broker, broker.records(DLQ)[0])
            await eventually(lambda: len(broker.records(DLQ)) == 2)
            second = broker.records(DLQ)[1]
            assert dict(second.headers)[CONNECT + "offset"] == b"1"
            assert sum(name == CONNECT + "offset" for name, _ in second.headers) == 1
            heart.refused.clear()
            await replay(broker, *broker.records(DLQ))
            await eventually(lambda: answers_in(broker.records(FEATURES)))
            await all_read(broker)
        assert totals(broker) == {"bad": (1, 0.0)}
        assert len(answers_in(broker.records(FEATURES))) == 1


async def test_a_letter_written_twice_is_handled_once(tmp_path: Path) -> None:
    """A lost acknowledgement: the reader sends the letter again, since it does not know that it is there."""
    lost = {"left": 1}

    def fault(errand: str, place: Any) -> None:
        if place.topic == DLQ and errand == "acknowledge" and lost["left"]:
            lost["left"] -= 1
            raise TransientError("the answer is lost")

    async with world("bad") as broker:
        broker.fault = fault
        heart = Picky("bad")
        async with running(stream(broker, tmp_path, heart, **QUICK)):
            await eventually(lambda: len(broker.records(DLQ)) == 2)
            await all_read(broker)
            heart.refused.clear()
            await replay(broker, *broker.records(DLQ))
            await all_read(broker)
        assert totals(broker) == {"bad": (1, 0.0)}
        assert len(answers_in(broker.records(FEATURES))) == 1


async def test_a_replay_into_another_partition_or_topic_is_not_counted(form: Form) -> None:
    async with world("bad") as broker:
        heart = Picky("bad")
        async with form.working(broker, heart, **QUICK):
            await eventually(lambda: broker.records(DLQ))
            heart.refused.clear()
            [letter] = broker.records(DLQ)
            for said in (b"", b"0", b"millrace.labels/0/0", b"millrace.events/0/x", b"/" * 99):
                strange = again(letter)
                strange.headers = [h for h in strange.headers if h[0] != REPLAY_OF]
                strange.headers.append((REPLAY_OF, said))
                await broker.producer().send(EVENTS, 0, [strange])
            await broker.producer().send(EVENTS, 1, [again(letter)])
            await all_read(broker)
        assert not answers_in(broker.records(FEATURES))


async def test_followers_pass_replays_over() -> None:
    async with world("a") as broker:
        folded: list[Message] = []
        follower = Follower(
            "serving", [EVENTS], wire=WIRE, fold=folded.append, broker=broker, chance=lambda: 0.5
        )
        letter = dead_letter(
            Message(broker.records(EVENTS)[0]), PermanentError("no"), reader="serving"
        )
        await broker.producer().send(DLQ, 0, [letter])
        await replay(broker, *broker.records(DLQ))
        await broker.producer().send(EVENTS, 0, [seen_record(1, "b")])
        async with running(follower):
            await eventually(lambda: len(folded) >= 2)
        assert [message.id for message in folded] == ["id-0", "id-1"]


async def test_the_brake_stops_the_reader_and_nothing_is_lost(form: Form) -> None:
    entities = ["good", *["bad"] * 30, "good"]
    async with world(*entities) as broker:
        heart = Picky("bad")
        with pytest.raises((TooManyDeadLettersError, ExceptionGroup)) as stopped:
            async with asyncio.timeout(20):
                await form.worker(broker, heart, max_dead_letters_in_a_row=5, **QUICK).run()
        said = stopped.value
        if isinstance(said, ExceptionGroup):  # the reader and its relay end together
            [said] = said.exceptions
        assert isinstance(said, TooManyDeadLettersError)
        assert "6 messages in a row could not be handled" in str(said)
        assert "bad is not understood yet" in str(said)
        assert len(broker.records(DLQ)) < 30
        heart.refused.clear()  # the fixed deployment
        async with form.working(broker, heart, max_dead_letters_in_a_row=5, **QUICK):
            await all_read(broker)
            letters = broker.records(DLQ)
            await replay(broker, *letters, *letters)
            await all_read(broker)
            await eventually(lambda: totals(broker).get("bad") == (30, sum(range(1, 31))))
        assert totals(broker) == {"good": (2, 31.0), "bad": (30, float(sum(range(1, 31))))}
        assert Counter(
            answer.event_id for answer in answers_in(broker.records(FEATURES))
        ) == Counter(f"e{number}" for number in range(32))


def test_the_brake_lets_go_after_a_good_message() -> None:
    brake, record = Brake(2), MemoryRecord("t", 0, 0, 0, None, b"", ())
    for _ in range(3):
        brake.bad(record, PermanentError("no"))
        brake.bad(record, PermanentError("no"))
        brake.good()
    brake.bad(record, PermanentError("no"))
    brake.bad(record, PermanentError("no"))
    with pytest.raises(
        TooManyDeadLettersError, match=r"the last at t/0/0: no\. Look at the newest"
    ):
        brake.bad(record, PermanentError("no"))


async def test_a_letter_with_a_null_header_leaves_the_outbox(form: Form) -> None:
    async with world() as broker:
        message = seen_record(0, "bad")
        message.headers.append(("null", None))  # type: ignore[arg-type]
        await broker.producer().send(EVENTS, 0, [message])
        async with form.working(broker, Picky("bad"), **QUICK):
            await eventually(lambda: broker.records(DLQ))
        assert ("null", None) in broker.records(DLQ)[0].headers
