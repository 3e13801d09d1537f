from hypothesis import given
from hypothesis import strategies as st

from millrace_ingestion.adapters.state import KnownCodec
from millrace_ingestion.domain.ledger import Happened, Known

codec = KnownCodec()
happened = st.builds(Happened, st.integers(0, 2**62), st.text(max_size=8))
labels = st.none() | st.floats(allow_nan=False) | st.text(max_size=8)
knowns = st.builds(Known, st.none() | happened, labels, st.just(False)) | st.builds(
    Known, st.none() | happened, st.none(), st.just(True)
)


@given(knowns)
def test_what_is_written_is_read_back(known):
    assert codec.decode(codec.encode(known)) == known


def test_an_event_costs_little_more_than_its_time_and_entity():
    assert len(codec.encode(Known(Happened(1_795_262_400_000_000, "s7")))) == 1 + 9 + 3
