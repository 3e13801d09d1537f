"""What is written by hand are the library's own bytes."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.hot_fields import doubles, opening, text, texts, varint, whole
from millrace_proto.v1.predictions_pb2 import PredictionMade
from millrace_testkit.fuzzing import effort

_texts = st.sampled_from(
    ["", "a", "event-000000001", "stra\u00dfe \U0001f6b2", "x" * 127, "y" * 128, "z" * 20_000]
)
_lists = st.lists(_texts, max_size=3)
_whole = st.one_of(st.sampled_from([0, 1, 127, 128, 16_383, 16_384]), st.integers(0, 2**32 - 1))
_times = st.one_of(_whole, st.integers(0, 2**63 - 1))
_doubles = st.lists(
    st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf, -math.inf, 5e-324, 1.7e308]), max_size=200
)


@effort(200)
@given(_texts, _whole, _texts, _texts, _times, _doubles, _lists, _texts)
def test_the_bytes_are_those_of_the_library(
    pipeline: str,
    version: int,
    event_id: str,
    entity: str,
    time: int,
    numbers: list[float],
    categories: list[str],
    label: str,
):
    by_hand = (
        opening(pipeline, version, event_id, entity, time)
        + whole(0x30, version)
        + text(0x52, label)
        + doubles(0x62, numbers)
        + texts(0x6A, categories)
        + whole(0x70, time)
    )
    assert (
        by_hand
        == PredictionMade(
            pipeline=pipeline,
            pipeline_version=version,
            event_id=event_id,
            entity=entity,
            event_time_us=time,
            model_version=version,
            class_label=label,
            numbers=numbers,
            categories=categories,
            trial=time,
        ).SerializeToString()
    )


def test_a_payload_in_a_nan_is_kept():
    odd = struct.unpack("<d", b"\x01\x00\x00\x00\x00\x00\xf8\x7f")[0]
    assert doubles(0x62, [odd]) == PredictionMade(numbers=[odd]).SerializeToString()


@pytest.mark.parametrize("number", [-1, 2**64])
def test_what_is_no_unsigned_number_is_refused(number: int):
    with pytest.raises(ValueError, match="no unsigned number"):
        varint(number)


def test_a_lone_surrogate_is_refused_as_the_library_does():
    with pytest.raises(UnicodeEncodeError):
        text(0x0A, "\ud800")
