"""Whatever bytes stand on the topics: they are read, or refused in words."""

from millrace_monitoring.adapters.wire import WIRE
from millrace_testkit.fuzzing.wire import hold_decoders_to_their_promise


def test_any_bytes_are_read_or_refused_in_words():
    hold_decoders_to_their_promise(WIRE)
