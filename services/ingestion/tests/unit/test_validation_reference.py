"""Validation against a second opinion: slow, plain, written from the documentation alone."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_ingestion.domain.events import Kind, Submission, ValidEvent
from millrace_ingestion.domain.problems import Refusal
from millrace_ingestion.domain.validation import validate

FIELDS = {
    "f": ("float", True),
    "i": ("int", False),
    "b": ("bool", True),
    "t": ("timestamp", False),
    "s": ("string", True),
    "c": ("category", False),
}
PIPELINE = {
    "event": "id: id, time: at, entity: who, max_ahead: 5m",
    "fields": ", ".join(
        f"{name}: {{type: {kind}, required: {str(required).lower()}}}"
        for name, (kind, required) in FIELDS.items()
    ),
    "label": "field: y, kind: binary",
}
NOON_SECONDS = Fraction(1_795_262_400)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    return is_number(value) and (isinstance(value, int) or math.isfinite(value))


def is_name(value: Any) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= 255 and "\0" not in value
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64


def seconds_of(value: Any) -> Fraction | None:
    """When it was, or None. Knows text only as strptime does."""
    if is_finite(value):
        if abs(value) < 10**11:
            return Fraction(value)
        return Fraction(value) / 1000 if abs(value) < 10**14 else None
    if not isinstance(value, str) or not value.isascii() or value[10:11] not in ("T", "t", " "):
        return None
    zone = "%z" if value[-1] in "Zz" or value[-6] in "+-" else ""
    fraction = ".%f" if "." in value else ""
    try:
        form = f"%Y-%m-%d %H:%M:%S{fraction}{zone}"
        moment = datetime.strptime(value.upper().replace("T", " "), form)  # noqa: DTZ007
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return Fraction(since // timedelta(microseconds=1), 1_000_000)


def is_good(kind: str, value: Any) -> bool:
    match kind:
        case "float":
            return is_finite(value) and abs(value) < 2**1024 - 2**970
        case "int":
            return is_finite(value) and value == math.floor(value) and abs(value) <= 2**53
        case "bool":
            return isinstance(value, bool) or (is_number(value) and value in (0, 1))
        case "timestamp":
            return seconds_of(value) is not None
        case _:
            return (isinstance(value, str) and "\0" not in value) or (
                is_name(value) and not isinstance(value, str)
            )


def wrong_fields(row: Mapping[str, Any]) -> set[str]:
    wrong = {name for name in ("id", "who") if not is_name(row.get(name))}
    at = seconds_of(row.get("at"))
    if at is None or not 0 <= round(at * 10**6) <= (NOON_SECONDS + 300) * 10**6:
        wrong.add("at")
    for name, (kind, required) in FIELDS.items():
        value = row.get(name)
        missing = value is None or (value == "" and kind in ("string", "category"))
        if required if missing else not is_good(kind, value):
            wrong.add(name)
    if row.get("y") not in (None, "", 0, 1) or isinstance(row.get("y"), list | dict):
        wrong.add("y")
    return wrong


numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from(
        [0, 1, 1.0, 2**53, 2**53 + 1, -(2**53), 2**64, 10**400, 1e300, 10**11, 10**14]
    )
    | st.integers(-2, 2).map(lambda ahead: 1_795_262_700 + ahead)
)
texts = (
    st.text(max_size=4)
    | st.sampled_from(["", "\0", "x" * 255, "x" * 256, "1", "true", "NaN"])
    | st.from_regex(r"(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?([Zz]|[+-][01][0-9]:[0-5][0-9])?", fullmatch=True)
)  # fmt: skip
values = st.none() | st.booleans() | numbers | texts | st.just([1]) | st.just({"a": 1})
GOOD = {
    "id": "e1",
    "at": "2026-11-21T11:00:00Z",
    "who": "s7",
    "f": 1.5,
    "i": 2,
    "b": True,
    "t": 0,
    "s": "x",
    "c": "y",
    "y": 1,
}
rows = st.dictionaries(st.sampled_from(sorted(GOOD)), values, max_size=3).map(
    lambda changes: GOOD | changes
)


@pytest.fixture(scope="session")
def compiled(rules):
    return rules(**PIPELINE)


@given(row=rows, gone=st.sets(st.sampled_from(sorted(GOOD)), max_size=2))
@settings(max_examples=400, deadline=None)
def test_it_refuses_exactly_what_the_reference_refuses(compiled, noon, row, gone):
    row = {name: value for name, value in row.items() if name not in gone}

    valid = validate(compiled, Submission(kind=Kind.EVENT, body=row, recorded_at=noon))

    wrong = wrong_fields(row)
    if isinstance(valid, Refusal):
        assert {problem.field for problem in valid.problems} == wrong
    else:
        assert isinstance(valid, ValidEvent)
        assert wrong == set()
        assert round(seconds_of(row["at"]) * 10**6) == valid.accepted.event_time


def test_the_reference_takes_the_good_row():
    assert wrong_fields(GOOD) == set()
