"""Free text as columns of a matrix: hashed n-grams of words and characters (Weinberger et al., Feature Hashing for Large Scale
Multitask Learning, 2009).

One function for training and serving, of the text alone: neither the rows beside it nor the process that asks changes a bit.
Each n-gram adds its sign, +1 or -1, to one of so many buckets; so what falls into the same bucket by chance cancels out on
average. A row is then scaled to length 1, and a text without a word is all zeros.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.errors import InvalidSignatureError
from millrace_artifacts.sentence_encoders import SentenceEncoder, opened
from millrace_kernel.texts import normalised

MOST_BUCKETS = 4_096
LONGEST_NGRAM = 8
HASH, NORMALISATION = "polynomial-splitmix-1", "nfkc-casefold-words-1"

_ROWS_AT_ONCE, _CHARACTERS_AT_ONCE = 1_024, 500_000
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: no power of it is 0 modulo 2**64
_SPACE = 0x20
_WORDS, _CHARACTERS = 1, 2  # what an n-gram is of

_Codes = NDArray[np.uint64]
_Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TextColumn:
    """How one text column becomes `buckets` columns of the matrix.

    `words` and `characters` are the shortest and the longest n-gram of each, or empty: none of that kind. Characters are
    those of the normalised text, with one space around each word. `hash`, `normalisation` and `unicode` say how, for whoever
    reads a manifest; another hash or normalisation than this version's is refused. Or `encoder` is the digest of a sentence
    encoder, which makes the columns of the text as it is, and there are no n-grams.
    Raises InvalidSignatureError.
    """

    name: str
    words: tuple[int, ...]
    characters: tuple[int, ...]
    buckets: int
    hash: str = HASH
    normalisation: str = NORMALISATION
    unicode: str = unicodedata.unidata_version
    encoder: str = ""

    def __post_init__(self) -> None:
        if self.encoder:
            self._check_encoded()
        else:
            self._check_hashed()

    @classmethod
    def encoded(cls, name: str, encoder: SentenceEncoder) -> "TextColumn":
        """A column that the encoder reads."""
        return cls(name, (), (), encoder.width, "", "", "", encoder.sha256)

    def _check_encoded(self) -> None:
        if self.words or self.characters or self.buckets < 1:
            raise InvalidSignatureError(
                f"the text column {self.name!r} is read by a sentence encoder, and hashed too, or has no columns"
            )

    def _check_hashed(self) -> None:
        if (self.hash, self.normalisation) != (HASH, NORMALISATION):
            raise InvalidSignatureError(
                f"the text column {self.name!r} is hashed by {self.hash} after {self.normalisation}; "
                f"this version knows {HASH} after {NORMALISATION}: train again"
            )
        if not 1 <= self.buckets <= MOST_BUCKETS:
            raise InvalidSignatureError(
                f"the text column {self.name!r} has {self.buckets} buckets, not 1 to {MOST_BUCKETS}"
            )
        if not (self.words or self.characters) or not all(
            _is_range(sizes) for sizes in (self.words, self.characters)
        ):
            raise InvalidSignatureError(
                f"the text column {self.name!r} has n-grams of {self.words} words and {self.characters} characters; "
                f"each is a shortest and a longest up to {LONGEST_NGRAM}, and one of the two is needed"
            )

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [rows, buckets]. Any text will do, lone surrogates too. Raises WrongColumnsError when its encoder is not open."""
        if self.encoder:
            return opened(self.encoder).encode(texts)
        found = np.empty((len(texts), self.buckets), dtype=np.float32)
        for start, stop in _batches(texts):
            found[start:stop] = self._counted([normalised(text) for text in texts[start:stop]])
        return found

    def _counted(self, lines: Sequence[str]) -> NDArray[np.float64]:
        codes, rows = _codes(lines)
        cells, signs = [], []
        for hashes, owners in _ngrams(codes, rows, self.words, self.characters):
            mixed = _mixed(hashes)
            buckets = ((mixed >> np.uint64(32)) % np.uint64(self.buckets)).astype(np.int64)
            cells.append(owners * self.buckets + buckets)
            signs.append(1.0 - 2.0 * (mixed & np.uint64(1)).astype(np.float64))
        size = len(lines) * self.buckets
        counts = np.bincount(np.concatenate(cells), np.concatenate(signs), minlength=size)
        # sums of whole numbers are exact in whatever order
        found = counts.astype(np.float64).reshape(len(lines), self.buckets)
        lengths = np.sqrt((found**2).sum(axis=1, keepdims=True))
        scaled: NDArray[np.float64] = found / np.where(lengths > 0.0, lengths, 1.0)
        return scaled


def _is_range(sizes: tuple[int, ...]) -> bool:
    return not sizes or (len(sizes) == 2 and 1 <= sizes[0] <= sizes[1] <= LONGEST_NGRAM)


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Rows that are worked on together: few enough for what they take to stay small."""
    start, characters = 0, 0
    for place, text in enumerate(texts):
        characters += len(text)
        if characters >= _CHARACTERS_AT_ONCE or place + 1 - start >= _ROWS_AT_ONCE:
            yield start, place + 1
            start, characters = place + 1, 0
    if start < len(texts):
        yield start, len(texts)


def _codes(lines: Sequence[str]) -> tuple[_Codes, _Places]:
    """The characters of all lines, a space before and behind each line, and the line of each character."""
    spaced = "".join(f" {line} " for line in lines)
    codes = np.frombuffer(spaced.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    lengths = np.array([len(line) + 2 for line in lines], dtype=np.int64)
    return codes.astype(np.uint64), np.repeat(np.arange(len(lines)), lengths)


def _ngrams(
    codes: _Codes, rows: _Places, words: tuple[int, ...], characters: tuple[int, ...]
) -> Iterator[tuple[_Codes, _Places]]:
    """The hashes of all n-grams, and the row of each; never of two rows."""
    if words:
        hashes, owners = _words(codes, rows)
        yield from _sequences(hashes, owners, words, _WORDS)
    if characters:
        # of an empty text nothing but spaces is left, which say nothing
        is_blank = np.bincount(rows, codes != _SPACE) == 0.0
        kept = ~is_blank[rows]
        yield from _sequences(codes[kept], rows[kept], characters, _CHARACTERS)


def _words(codes: _Codes, rows: _Places) -> tuple[_Codes, _Places]:
    """A polynomial over each word's characters, modulo 2**64."""
    is_letter = codes != _SPACE
    starts = np.flatnonzero(is_letter & ~np.concatenate([[False], is_letter[:-1]]))
    if not len(starts):
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    number = np.cumsum(np.bincount(starts, minlength=len(codes))) - 1
    inside = np.maximum(np.arange(len(codes)) - starts[np.maximum(number, 0)], 0)
    powers = np.concatenate(
        [[np.uint64(1)], np.cumprod(np.full(int(inside.max()), _BASE, dtype=np.uint64))]
    )
    terms = np.where(is_letter, (codes + np.uint64(1)) * powers[inside], np.uint64(0))
    return _mixed(np.add.reduceat(terms, starts)), rows[starts]


def _sequences(
    items: _Codes, rows: _Places, sizes: tuple[int, ...], kind: int
) -> Iterator[tuple[_Codes, _Places]]:
    """Every n items of a row that stand side by side, as one hash."""
    for size in range(sizes[0], sizes[1] + 1):
        count = max(0, len(items) - size + 1)
        hashes = np.full(count, kind * 256 + size, dtype=np.uint64)
        for step in range(size):
            hashes = hashes * _BASE + items[step : step + count] + np.uint64(1)
        together = rows[:count] == rows[size - 1 : size - 1 + count]
        yield hashes[together], rows[:count][together]


def _mixed(values: _Codes) -> _Codes:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): every bit of a value moves every bit of its hash."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: _Codes = values ^ (values >> np.uint64(31))
    return mixed
