"""How a field of each kind is read. A reader gets a JSON value that is there (not null) and raises WrongValueError."""

from collections.abc import Callable
from math import isfinite
from types import MappingProxyType

from millrace_ingestion.domain.problems import WrongValueError, shown
from millrace_ingestion.domain.times import read_time
from millrace_kernel.pipeline import FieldKind

EXACT = 2**53  # the largest int up to which a double tells every int from its neighbour
LONGEST_NAME = (
    255  # characters of an id, an entity, a class: they are keys on the bus and in every index
)

_MICROSECONDS = 1_000_000
_BITS_OF_AN_ID = 64


def read_float(value: object) -> float:
    """Any finite JSON number; a whole one is rounded to the nearest double, as readers of JSON do."""
    if type(value) is float:
        if isfinite(value):
            return value
        raise _not_finite(value)
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise WrongValueError(
                "is a number beyond the range of a double", "send a smaller number"
            ) from None
    raise WrongValueError(f"{shown(value)} is not a number", "send a JSON number such as 21.5")


def read_int(value: object) -> float:
    """A whole number that a double holds exactly; `3.0` is one, since JSON doesn't tell it from `3`."""
    if type(value) is float and not isfinite(value):
        raise _not_finite(value)
    if type(value) is int or (type(value) is float and value.is_integer()):
        if -EXACT <= value <= EXACT:
            return float(value)
        raise WrongValueError(
            f"{shown(value)} is beyond 2**53, where doubles skip numbers",
            "declare the field as float, or as string when it is an id",
        )
    raise WrongValueError(f"{shown(value)} is not a whole number", "send a whole number such as 21")


def read_bool(value: object) -> float:
    """true and false, or 1 and 0, which is how most files write them."""
    if value is True or value is False:
        return float(value)
    if (type(value) is int or type(value) is float) and value in {0, 1}:
        return float(value)
    raise WrongValueError(f"{shown(value)} is not true or false", "send true, false, 1 or 0")


def read_timestamp(value: object) -> float:
    """A time as seconds since 1970."""
    return read_time(value) / _MICROSECONDS


def read_text(value: object) -> str:
    """A text, or a whole number as its digits: codes such as a weather class are often sent as numbers."""
    if type(value) is str:
        if "\x00" in value:
            raise _has_nul()
        return value
    if type(value) is int:
        return _digits(value)
    raise WrongValueError(f"{shown(value)} is not a text", "send a JSON string")


def text_reader(most_bytes: int | None) -> Callable[[object], str]:
    """Reads texts that have at most so many bytes in UTF-8; None: no bound."""
    if most_bytes is None:
        return read_text

    def read(value: object) -> str:
        text = read_text(value)
        # a character takes four bytes at most
        if 4 * len(text) > most_bytes:
            size = len(text.encode(errors="surrogatepass"))
            if size > most_bytes:
                raise WrongValueError(
                    f"has {size} bytes",
                    f"send at most {most_bytes}; of a field, max_bytes in the pipeline file says more",
                )
        return text

    return read


def read_name(value: object) -> str:
    """An id or an entity: a text that is not too long, or a whole number."""
    if type(value) is str:
        if len(value) > LONGEST_NAME:
            raise WrongValueError(f"has {len(value)} characters", f"send at most {LONGEST_NAME}")
        if "\x00" in value:
            raise _has_nul()
        return value
    if type(value) is int:
        return _digits(value)
    raise WrongValueError(
        f"{shown(value)} is neither a text nor a whole number",
        "send a JSON string or a whole number",
    )


def _digits(number: int) -> str:
    if number.bit_length() <= _BITS_OF_AN_ID:
        return str(number)
    raise WrongValueError(
        f"is a number of more than {_BITS_OF_AN_ID} bits", "send it as a JSON string"
    )


def _not_finite(value: float) -> WrongValueError:
    return WrongValueError(f"{shown(value)} is not finite", "send null when the value is unknown")


def _has_nul() -> WrongValueError:
    """PostgreSQL's texts can't hold one, and it would be found out only when the event is long accepted."""
    return WrongValueError("contains the character U+0000, which databases refuse", "leave it out")


NUMBER_READERS: MappingProxyType[FieldKind, Callable[[object], float]] = MappingProxyType(
    {
        FieldKind.FLOAT: read_float,
        FieldKind.INT: read_int,
        FieldKind.BOOL: read_bool,
        FieldKind.TIMESTAMP: read_timestamp,
    }
)
