"""What is written by hand is what the library writes."""

import math

from hypothesis import given
from hypothesis import strategies as st

from millrace_proto.v1 import predictions_pb2
from millrace_serving.adapters.wire import encode_prediction_made
from millrace_serving.domain.answers import Answer
from millrace_serving.domain.events import FeaturesComputed, PredictionMade, Role
from millrace_testkit.fuzzing import effort

_texts = st.sampled_from(["", "a", "event-000000001", "straße", "x" * 200])
_numbers = st.lists(st.sampled_from([0.0, -0.0, 1.5, math.inf]), max_size=40).map(tuple)
_counts = st.sampled_from([0, 1, 127, 128, 70_000])
_times = st.sampled_from([0, 1, 2**21 - 1, 2**21, 1_795_262_400_000_000, 253_402_300_799_999_999])
_vectors = st.builds(
    FeaturesComputed, _texts, _counts, _texts, _texts, _times, _numbers, st.just(("", "b"))
)
_values = st.sampled_from([None, 0.0, -0.0, 2.5])
_spreads = st.sampled_from([(), (0.5, 4.5), (1.0, 2.0, 4.0)])
_answers = st.builds(Answer, _values, _texts, _numbers, _spreads, _spreads, _texts)
_seconds = st.sampled_from([0.0, 1e-5])


@effort(150)
@given(st.builds(PredictionMade, _vectors, _counts, _counts, st.sampled_from(Role), _answers, _counts, _seconds))  # fmt: skip
def test_a_prediction_has_the_bytes_of_the_library(made: PredictionMade):
    vector, answer = made.vector, made.answer
    role = predictions_pb2.PredictionRole.Value(f"PREDICTION_ROLE_{made.role.name}")
    proto = predictions_pb2.PredictionMade(
        pipeline=vector.pipeline,
        pipeline_version=vector.pipeline_version,
        event_id=vector.event_id,
        entity=vector.entity,
        event_time_us=vector.event_time,
        model_version=made.model_version,
        epoch=made.epoch,
        role=role,
        value=answer.value,
        class_label=answer.class_label,
        probabilities=answer.probabilities,
        numbers=vector.numbers,
        categories=vector.categories,
        trial=made.trial,
        seconds=made.seconds,
        quantiles=answer.quantiles,
        interval=answer.interval,
        text=answer.text,
    )
    assert encode_prediction_made(made) == proto.SerializeToString()
