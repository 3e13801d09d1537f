"""How a time may be written. Each form is tried by what it looks like, never by what the machine's zone would make of it.

* RFC 3339: `2026-11-21T02:54:00Z`, `2026-11-21T02:54:00.123456+01:00`
* the same without a zone, with `T` or a space: taken as UTC
* a number since 1970-01-01T00:00:00Z, by its size: below 1e11 seconds (until the year 5138), below 1e14 milliseconds
  (from 1973 on; whoever has older events in milliseconds sends text). Larger numbers are refused, not guessed at.
"""

import re

from millrace_ingestion.domain.problems import WrongValueError, shown
from millrace_kernel.time import Instant, parse_rfc3339

SECONDS_BELOW = 10**11
MILLISECONDS_BELOW = 10**14

_MILLION = 1_000_000
_FORMS = "send RFC 3339 such as 2026-11-21T02:54:00Z, YYYY-MM-DD HH:MM:SS in UTC, or seconds or milliseconds since 1970"
_TEXT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
)


def read_time(value: object) -> Instant:
    """The instant that a JSON value means, before or after 1970. Raises WrongValueError."""
    if type(value) is str:
        return _of_text(value)
    if type(value) is int or type(value) is float:
        return _of_number(value)
    raise WrongValueError(f"{shown(value)} is not a time", _FORMS)


def _of_text(text: str) -> Instant:
    if _TEXT.fullmatch(text) is None:
        raise WrongValueError(f"{shown(text)} is not a time", _FORMS)
    try:
        return parse_rfc3339(text.upper())
    except (ValueError, OverflowError):  # the 31st of February, the 25th hour
        raise WrongValueError(f"{shown(text)} is on no calendar", _FORMS) from None


def _of_number(number: float) -> Instant:
    size = abs(number)  # NaN and infinity are below nothing
    if size < SECONDS_BELOW:
        return Instant(round(number * _MILLION))
    if size < MILLISECONDS_BELOW:
        return Instant(round(number * 1_000))
    raise WrongValueError(f"{shown(number)} can't be seconds or milliseconds since 1970", _FORMS)
