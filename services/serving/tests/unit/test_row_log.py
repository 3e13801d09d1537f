"""Written by hand, byte for byte what protobuf and the bus write."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.ids import EntityId, EventId, ModelVersionNumber
from millrace_kernel.time import LATEST, Instant, rfc3339
from millrace_serving.adapters.entries import Made, Recorder
from millrace_serving.adapters.row_log import HeaderWriter, LoggedRow, RowForm
from millrace_serving.adapters.wire import WIRE, encode_prediction_made
from millrace_serving.domain.answers import Answer
from millrace_serving.domain.events import FeaturesComputed, PredictionMade, Role
from millrace_testkit.fuzzing import effort

numbers = st.floats(allow_nan=False) | st.just(float("nan"))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.fixture
def a_champion(make_champion):
    return make_champion(1, 1)


def test_a_prediction_is_written_as_protobuf_writes_it(a_champion):
    @effort(300)
    @given(
        names=texts,
        versions=st.tuples(*[st.integers(0, 2**32 - 1)] * 2),
        epoch=st.integers(0, 2**64 - 1),
        event_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
        at=st.integers(1, LATEST),
        value=st.none() | st.sampled_from([0.0, -0.0]) | numbers,
        class_label=texts,
        probabilities=st.lists(numbers, max_size=20),
        row=st.lists(numbers, max_size=300),
        number=st.integers(0, 10**15),
        categories=st.lists(texts | st.just("x" * 1_000), max_size=4),
    )
    def holds(
        names,
        versions,
        epoch,
        event_id,
        at,
        value,
        class_label,
        probabilities,
        row,
        number,
        categories,
    ):
        champion = replace(
            a_champion,
            pipeline=names,
            pipeline_version=versions[0],
            version=versions[1],
            epoch=epoch,
        )
        vector = FeaturesComputed(
            names, versions[0], EventId(event_id), EntityId(""), Instant(at), tuple(row), tuple(categories)
        )  # fmt: skip
        answer = Answer(value, class_label, tuple(probabilities))
        made = PredictionMade(vector, ModelVersionNumber(versions[1]), epoch, Role.REQUEST, answer)
        form = RowForm(champion)
        packed = struct.pack(f"<{len(row)}d", *row)
        logged = LoggedRow(
            form, event_id, at, packed, categories, value, class_label, probabilities, 1
        )

        assert form.value(logged, event_id.encode()) == encode_prediction_made(made)
        assert form.ids.of(event_id.encode()) == made.id
        recorder = Recorder("millrace/test", WIRE)
        by_hand, by_bus = (recorder.record(entry, number) for entry in (logged, Made(made, 1)))
        assert (by_hand.topic, by_hand.key, by_hand.value) == (
            by_bus.topic,
            by_bus.key,
            by_bus.value,
        )
        assert by_hand.headers == by_bus.headers

    holds()


@effort(200)
@given(st.lists(st.integers(0, LATEST) | st.integers(0, 3_000_000), max_size=6))
def test_times_are_written_as_everywhere(moments):
    writer = HeaderWriter("millrace/test")

    assert [writer.time(Instant(at)).decode() for at in moments] == [
        rfc3339(Instant(at)) for at in moments
    ]
