"""What is written by hand is what the library writes."""

import math

from hypothesis import given
from hypothesis import strategies as st

from millrace_features.adapters.wire import features_computed
from millrace_features.domain.events import FeaturesComputed
from millrace_proto.v1 import features_pb2
from millrace_testkit.fuzzing import effort

_texts = st.sampled_from(["", "a", "event-000000001", "straße", "x" * 200])
_numbers = st.lists(st.sampled_from([0.0, -0.0, 1.5, math.inf]), max_size=40).map(tuple)
_times = st.sampled_from([0, 1, 2**21 - 1, 2**21, 1_795_262_400_000_000, 253_402_300_799_999_999])
_categories = st.lists(_texts, max_size=3).map(tuple)


@effort(150)
@given(st.builds(FeaturesComputed, _texts, st.sampled_from([0, 1, 300]), _texts, _texts, _times, _numbers, _categories, st.booleans()))  # fmt: skip
def test_a_vector_has_the_bytes_of_the_library(made: FeaturesComputed):
    proto = features_pb2.FeaturesComputed(
        pipeline=made.pipeline,
        pipeline_version=made.pipeline_version,
        event_id=made.event_id,
        entity=made.entity,
        event_time_us=made.event_time,
        numbers=made.numbers,
        categories=made.categories,
        late=made.late,
    )
    assert features_computed(made) == proto.SerializeToString()
