from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.cloudevents import time_header
from millrace_kernel.time import EARLIEST, LATEST, Instant, rfc3339
from millrace_testkit.fuzzing import effort

_SECOND = 1_000_000
_MOMENTS = st.integers(EARLIEST, LATEST)


@effort(60)
@given(_MOMENTS, st.integers(0, _SECOND - 1))
def test_a_time_as_a_header_is_its_text_also_the_second_time(moment: int, later: int) -> None:
    neighbour = min(moment - moment % _SECOND + later, LATEST)
    for at in (moment, neighbour, EARLIEST, LATEST):
        assert time_header(Instant(at)) == rfc3339(Instant(at)).encode()
