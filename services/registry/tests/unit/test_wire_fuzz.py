"""Whatever bytes stand on the topics: they are read, or refused in words; what is read and written again is the same."""

import pytest

from millrace_registry.adapters.wire import WIRE, encode_pause_pipeline, encode_version_command
from millrace_testkit.fuzzing.wire import hold_decoders_to_their_promise, survives


def test_any_bytes_are_read_or_refused_in_words():
    hold_decoders_to_their_promise(WIRE)


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("ApprovePromotion", encode_version_command),
        ("RejectPromotion", encode_version_command),
        ("RollBack", encode_version_command),
        ("PausePipeline", encode_pause_pipeline),
    ],
)
def test_a_command_survives_the_wire(name, encode):
    survives(WIRE, f"millrace.v1.{name}", encode)
