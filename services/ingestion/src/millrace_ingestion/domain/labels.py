"""How the truth is written, for each kind of label."""

from collections.abc import Callable

from millrace_ingestion.domain.events import LabelValue
from millrace_ingestion.domain.problems import WrongValueError, shown
from millrace_ingestion.domain.values import read_bool, read_float, read_name, text_reader
from millrace_kernel.pipeline import Label, LabelKind

ReadLabel = Callable[[object], LabelValue]


def label_reader(label: Label) -> ReadLabel:
    """The reader of this label's values; it gets a JSON value that is not null and raises WrongValueError."""
    match label.kind:
        case LabelKind.REGRESSION:
            return read_float
        case LabelKind.MULTICLASS:
            return read_class
        case LabelKind.TEXT:
            return read_words
        case LabelKind.BINARY:
            return read_bool if label.positive is None else _positive_is(label.positive)


def read_class(value: object) -> str:
    """A class by its name. Numbers and truth values are classes too: 3 and 3.0 are "3", true is "true"."""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is float and value.is_integer():
        return read_name(int(value))
    if type(value) is float:
        return repr(read_float(value))
    if value == "":
        raise WrongValueError("is empty", "send the class, or null to take the label back")
    return read_name(value)


LONGEST_ANSWER = 8_192  # bytes: models carry the answers that they know


def read_words(value: object) -> str:
    """An answer in words, as it was written."""
    if type(value) is str and not value.strip():
        raise WrongValueError("is empty", "send the words, or null to take the label back")
    return _read_words(value)


_read_words = text_reader(LONGEST_ANSWER)


def _positive_is(positive: str) -> ReadLabel:
    def read(value: object) -> float:
        if type(value) is str:
            if value == "":
                raise WrongValueError(
                    "is empty",
                    f"send {shown(positive)} or another text, or null to take the label back",
                )
            return float(value == positive)
        return read_bool(value)

    return read
