"""What a model eats and answers, and how rows of vectors become the matrix that it was fitted on.

Training and serving share this one encoding, so there is nothing in which they could differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.errors import InvalidSignatureError, WrongColumnsError
from millrace_artifacts.texts import TextColumn
from millrace_kernel.pipeline import LabelKind

Matrix: TypeAlias = NDArray[np.float32]
Numbers: TypeAlias = NDArray[np.float64]

BINARY_CLASSES = ("0", "1")
MEDIAN = 0.5
UNKNOWN_CODE = -1.0  # ordinal: a category that the vocabulary does not have
_LARGEST = float(np.finfo(np.float32).max)


class Encoding(StrEnum):
    """How a category column becomes numbers."""

    ORDINAL = "ordinal"  # one column: the category's place in the vocabulary; for trees
    ONE_HOT = "one_hot"  # one column of 0 and 1 per category of the vocabulary; for linear models


@dataclass(frozen=True, slots=True)
class Signature:
    """The columns of a model, in the order in which vectors carry them, and what it answers.

    `vocabularies` has one tuple per category column. `classes` is empty for regression, ("0", "1") for binary, and the
    texts in the order of the probabilities for multiclass, and for a label in words the answers that are known. A regression may answer more than the value: `quantiles` of it,
    growing, of which 0.5 is the value, and an `interval` that holds so large a share of the truths. `texts` are those of the
    category columns that are free text, whose vocabulary is empty. Raises InvalidSignatureError when these do not fit together.
    """

    pipeline: str
    pipeline_version: int
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    vocabularies: tuple[tuple[str, ...], ...]
    encoding: Encoding
    label_kind: LabelKind
    classes: tuple[str, ...]
    quantiles: tuple[float, ...] = ()
    interval: float | None = None
    texts: tuple[TextColumn, ...] = ()

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise InvalidSignatureError(
                f"signature of {self.pipeline} version {self.pipeline_version}: {problem}"
            )

    def _problem(self) -> str:
        """What does not fit together, in words; empty when all does."""
        names = self.numbers + self.categories
        if len(set(names)) != len(names):
            return "two columns have the same name"
        if len(self.vocabularies) != len(self.categories):
            return f"{len(self.categories)} category columns, but {len(self.vocabularies)} vocabularies"
        if any(len(set(vocabulary)) != len(vocabulary) for vocabulary in self.vocabularies):
            return "a vocabulary names a category twice"
        if problem := self._problem_of_texts():
            return problem
        if not self.width:
            return "the matrix would have no column"
        return self._problem_of_classes() or self._problem_of_extras()

    def _problem_of_texts(self) -> str:
        names = [text.name for text in self.texts]
        if len(set(names)) != len(names) or not set(names) <= set(self.categories):
            return (
                f"the text columns {names} are not among the category columns, or one comes twice"
            )
        words = dict(zip(self.categories, self.vocabularies, strict=True))
        return "a text column has a vocabulary" if any(words[name] for name in names) else ""

    def _problem_of_extras(self) -> str:
        if not self.extras:
            return ""
        if self.label_kind is not LabelKind.REGRESSION:
            return "only a regression has quantiles or an interval"
        if self.interval is not None and not 0.0 < self.interval < 1.0:
            return f"an interval holds a share between 0 and 1, not {self.interval}"
        levels = self.quantiles
        if any(not 0.0 < level < 1.0 for level in levels) or list(levels) != sorted(set(levels)):
            return f"quantiles grow between 0 and 1, unlike {levels}"
        return (
            "" if not levels or MEDIAN in levels else "without the quantile 0.5 there is no value"
        )

    def _problem_of_classes(self) -> str:
        match self.label_kind:
            case LabelKind.REGRESSION:
                return "a regression has no classes" if self.classes else ""
            case LabelKind.BINARY:
                fits = self.classes == BINARY_CLASSES
                return "" if fits else f"the classes of a binary label are {BINARY_CLASSES}"
            case LabelKind.MULTICLASS:
                fits = len(set(self.classes)) == len(self.classes) >= 2
                return "" if fits else "a multiclass label has two different classes or more"
            case LabelKind.TEXT:
                fits = len(set(self.classes)) == len(self.classes) >= 2
                return "" if fits else "a label in words has two different answers or more"

    @property
    def extras(self) -> int:
        """Columns of an answer behind the value: the quantiles, then the interval's two ends."""
        return len(self.quantiles) + (0 if self.interval is None else 2)

    @property
    def width(self) -> int:
        """Columns of the encoded matrix."""
        return self.spans[-1].stop if self.spans else len(self.numbers)

    @property
    def spans(self) -> tuple[slice, ...]:
        """Where in the encoded matrix each category column stands, behind the numbers."""
        found, start = [], len(self.numbers)
        for width in self._widths():
            found.append(slice(start, start + width))
            start += width
        return tuple(found)

    @property
    def text_columns(self) -> tuple[int, ...]:
        """The encoded matrix's columns that free texts become."""
        names = {text.name for text in self.texts}
        spans = zip(self.categories, self.spans, strict=True)
        return tuple(
            place for name, span in spans if name in names for place in range(span.start, span.stop)
        )

    @property
    def column_names(self) -> tuple[str, ...]:
        """The encoded matrix's columns: a one-hot column is `category=text`, a text's bucket `text#number`."""
        names = list(self.numbers)
        texts = {text.name for text in self.texts}
        for name, words, span in zip(self.categories, self.vocabularies, self.spans, strict=True):
            if name in texts:
                names += [f"{name}#{bucket}" for bucket in range(span.stop - span.start)]
            elif self.encoding is Encoding.ORDINAL:
                names.append(name)
            else:
                names += [f"{name}={text}" for text in words]
        return tuple(names)

    def encode(self, numbers: Numbers, categories: Sequence[Sequence[str]]) -> Matrix:
        """One call of `Encoder(self).encode`; whoever encodes again and again keeps the encoder."""
        return Encoder(self).encode(numbers, categories)

    def _widths(self) -> Iterator[int]:
        buckets = {text.name: text.buckets for text in self.texts}
        for name, vocabulary in zip(self.categories, self.vocabularies, strict=True):
            usual = 1 if self.encoding is Encoding.ORDINAL else len(vocabulary)
            yield buckets.get(name, usual)


class Encoder:
    """Encodes rows for one signature, with the vocabularies looked up once."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._width = signature.width
        texts = {text.name: text for text in signature.texts}
        columns = zip(signature.categories, signature.spans, signature.vocabularies, strict=True)
        # of each category column: where it is in a row, where it goes to, and how
        self._categories: list[tuple[int, int, dict[str, int]]] = []
        self._texts: list[tuple[int, slice, TextColumn]] = []
        for place, (name, span, words) in enumerate(columns):
            if name in texts:
                self._texts.append((place, span, texts[name]))
            else:
                places = {text: code for code, text in enumerate(words)}
                self._categories.append((place, span.start, places))

    def encode(self, numbers: Numbers, categories: Sequence[Sequence[str]]) -> Matrix:
        """The matrix of some rows: float32 [rows, width].

        `numbers` is float64 [rows, numbers], NaN where missing; it stays NaN here (trees branch on it, linear models
        carry the means to fill in). Numbers beyond float32 are set to its largest. `categories` is [rows][categories];
        an unknown text becomes -1 (ordinal) or zeros in all its columns (one-hot), and "" is a text like any other. What is
        declared as free text is hashed: see `TextColumn.encode`.
        Raises WrongColumnsError when the rows do not have the signature's columns.
        """
        rows = self._checked_rows(numbers, categories)
        matrix = np.empty((rows, self._width), dtype=np.float32)
        width = len(self.signature.numbers)
        # np.clip does the same in three times the time, which counts for a single row
        np.maximum(np.minimum(numbers, _LARGEST), -_LARGEST, out=matrix[:, :width])
        if not self.signature.categories:
            return matrix
        if self.signature.encoding is Encoding.ORDINAL:
            self._put_ordinal(matrix, categories)
        else:
            self._put_one_hot(matrix[:, width:], matrix, categories)
        for place, span, text in self._texts:
            matrix[:, span] = text.encode([row[place] for row in categories])
        return matrix

    def _checked_rows(self, numbers: Numbers, categories: Sequence[Sequence[str]]) -> int:
        signature = self.signature
        if numbers.ndim != 2 or numbers.shape[1] != len(signature.numbers):
            raise WrongColumnsError(
                f"numbers have shape {numbers.shape}; the model needs [rows, {len(signature.numbers)}]: {signature.numbers}"
            )
        if len(categories) != numbers.shape[0] and signature.categories:
            raise WrongColumnsError(
                f"{numbers.shape[0]} rows of numbers, but {len(categories)} rows of categories"
            )
        if categories and set(map(len, categories)) != {len(signature.categories)}:
            raise WrongColumnsError(
                f"a row does not have the {len(signature.categories)} categories of the model: {signature.categories}"
            )
        return int(numbers.shape[0])

    def _put_ordinal(self, target: Matrix, categories: Sequence[Sequence[str]]) -> None:
        for column, start, places in self._categories:
            target[:, start] = [places.get(row[column], UNKNOWN_CODE) for row in categories]

    def _put_one_hot(
        self, codes: Matrix, target: Matrix, categories: Sequence[Sequence[str]]
    ) -> None:
        codes[:] = 0.0
        for column, start, places in self._categories:
            for row, texts in enumerate(categories):
                place = places.get(texts[column])
                if place is not None:
                    target[row, start + place] = 1.0
