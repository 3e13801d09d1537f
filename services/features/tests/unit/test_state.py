"""The state's bytes."""

import math

import pytest

from millrace_features.adapters.state import HistoryCodec

CODEC = HistoryCodec()
FEATURES = (
    "{name: x_sum, agg: sum, of: x, window: 1m}",
    "{name: x_ever, agg: last, of: x}",
    "{name: hired, agg: sum, of: label, window: 1m}",
)


@pytest.fixture
def history(heart):
    bikes = heart(*FEATURES)
    for second in range(100):
        bikes.event(str(second), second, math.nan if second % 7 == 0 else float(second))
        bikes.label(str(second), second, known_at=second + 1, value=1.0)
    bikes.label("90", 90, known_at=101, value=2.0)
    bikes.label("far", 1_000, known_at=1_001, value=3.0)
    return bikes.history()


def test_what_is_written_is_read_again(history):
    content = CODEC.encode(history)
    read = CODEC.decode(content)

    assert CODEC.encode(read) == content
    assert (read.version, read.newest, read.times) == (1, 99_000_000, history.times)
    assert read.fields["x"][-1] == 99.0
    assert math.isnan(read.fields["x"][-2])
    assert read.labels.ids == history.labels.ids
    assert read.labels.ahead == [(1_000_000_000, "far", (1_001_000_000, 3.0))]
    assert read.labels.revisions == {"90": ((91_000_000, 1.0), (101_000_000, 2.0))}


def test_the_first_byte_names_the_format(history):
    assert CODEC.encode(history)[:1] == b"\x01"


@pytest.mark.parametrize("content", [b"", b"\x02whatever"])
def test_a_state_of_another_format_is_refused_with_what_to_do(content):
    with pytest.raises(ValueError, match="remove the state directory to have it built again"):
        CODEC.decode(content)


def test_a_number_costs_eight_bytes(history):
    # 64 events: a time, a field, when the label was known, its value, and a short id
    assert len(CODEC.encode(history)) < 64 * (4 * 8 + 3) + 150
