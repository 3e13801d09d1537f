"""Free text as columns: the same for everybody, always, and the same as n-grams counted one by one."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace_artifacts import texts
from millrace_artifacts.errors import InvalidSignatureError
from millrace_artifacts.signature import Encoding, Signature
from millrace_artifacts.texts import TextColumn
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.texts import normalised

COLUMN = TextColumn("review", (1, 2), (3, 4), 64)
ANY_TEXT = st.text(st.characters(), max_size=60)
WORDS = st.lists(st.sampled_from(["a", "bee", "sea", "B", "ß", "日本", "🙂", "!"]), max_size=8)
SIZES = st.sampled_from([(), (1, 1), (1, 2), (2, 3), (3, 5)])
MASK = 2**64 - 1


def mixed(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def hashed(items: list[int], kind: int) -> int:
    found = kind * 256 + len(items)
    for item in items:
        found = (found * 0x9E3779B97F4A7C15 + item + 1) & MASK
    return mixed(found)


def word_of(word: str) -> int:
    terms = (
        (ord(letter) + 1) * pow(0x9E3779B97F4A7C15, place, 2**64)
        for place, letter in enumerate(word)
    )
    return mixed(sum(terms) & MASK)


def one_by_one(text: str, column: TextColumn) -> np.ndarray:
    line = normalised(text)
    words = [word_of(word) for word in line.split()]
    letters = [ord(letter) for letter in f" {line} "] if line else []
    counts = np.zeros(column.buckets)
    for kind, items, sizes in ((1, words, column.words), (2, letters, column.characters)):
        for size in range(sizes[0], sizes[1] + 1) if sizes else ():
            for start in range(len(items) - size + 1):
                value = hashed(items[start : start + size], kind)
                counts[(value >> 32) % column.buckets] += 1 - 2 * (value & 1)
    length = np.sqrt((counts**2).sum())
    return (counts / length if length else counts).astype(np.float32)


@example(["a\ud800b", "\udfff"], (1, 2), (3, 4))  # lone surrogates
@given(st.lists(ANY_TEXT | WORDS.map(" ".join), max_size=6), SIZES, SIZES)
def test_it_is_what_counting_one_by_one_gives(lines, words, characters):
    if not words and not characters:
        words = (1, 1)
    column = TextColumn("review", words, characters, 32)
    expected = np.array([one_by_one(line, column) for line in lines]).reshape(-1, 32)
    np.testing.assert_array_equal(column.encode(lines), expected)


@given(st.lists(ANY_TEXT, min_size=1, max_size=6), st.data())
def test_the_rows_beside_a_text_change_nothing(lines, data):
    place = data.draw(st.integers(0, len(lines) - 1))
    alone = COLUMN.encode([lines[place]])
    np.testing.assert_array_equal(COLUMN.encode(lines)[place : place + 1], alone)


@settings(max_examples=20)
@given(st.lists(ANY_TEXT, max_size=12), st.integers(1, 5), st.integers(1, 40))
def test_neither_does_how_many_are_worked_on_together(lines, rows, characters):
    whole = COLUMN.encode(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_ROWS_AT_ONCE", rows)
        patch.setattr(texts, "_CHARACTERS_AT_ONCE", characters)
        np.testing.assert_array_equal(COLUMN.encode(lines), whole)


@given(ANY_TEXT)
def test_a_row_has_length_one_or_says_nothing(text):
    length = float(np.linalg.norm(COLUMN.encode([text])[0]))
    if not normalised(text):
        assert length == 0.0
    else:
        # +1 and -1 can cancel out in every bucket, hardly ever
        assert length == pytest.approx(1.0, abs=1e-5) or length == 0.0


@given(ANY_TEXT)
def test_what_is_normalised_stays_as_it_is(text):
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("ﬁne", "fine"),
        ("cafe\N{COMBINING ACUTE ACCENT}", "CAFÉ"),
        ("  so\tmuch \n", "so much"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER F}ull1\N{FULLWIDTH DIGIT TWO}", "full12"),
    ],
)
def test_forms_of_one_text_are_one(one, other):
    np.testing.assert_array_equal(COLUMN.encode([one]), COLUMN.encode([other]))


@pytest.mark.parametrize(
    ("one", "other"),
    [("good", "bad"), ("good", "good!"), ("🙂", "🙁"), ("ab c", "a bc"), ("a b", "b a")],
)
def test_other_texts_are_others(one, other):
    assert (COLUMN.encode([one]) != COLUMN.encode([other])).any()


def test_other_processes_hash_alike():
    """Python's own `hash` would differ between these two."""
    ask = (
        "import hashlib; from millrace_artifacts.texts import TextColumn;"
        "column = TextColumn('review', (1, 2), (3, 4), 64);"
        "found = column.encode(['Good 🙂 café', '', 'no good']);"
        "print(hashlib.sha256(found.tobytes()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", ask],
            env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    here = COLUMN.encode(["Good 🙂 café", "", "no good"])
    assert said == {hashlib.sha256(here.tobytes()).hexdigest()}


def test_it_never_changes():
    """Artifacts out there were made by this very hash."""
    [row] = TextColumn("review", (1, 2), (), 16).encode(["the mill grinds slowly"])
    places = np.flatnonzero(row).tolist()
    assert places == [0, 2, 3, 7, 11, 15]
    np.testing.assert_allclose(row[places] * 3.0, [-1, 1, 1, -1, -1, -2], rtol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"buckets": 0},
        {"buckets": 5_000},
        {"words": (), "characters": ()},
        {"words": (2, 1)},
        {"characters": (3,)},
        {"words": (0, 1)},
        {"hash": "md5"},
        {"normalisation": "lower"},
    ],
)
def test_what_makes_no_column_is_refused(wrong):
    with pytest.raises(InvalidSignatureError, match="review"):
        replace(COLUMN, **wrong)


def a_signature(encoding: Encoding, **changes) -> Signature:
    given = {
        "categories": ("town", "review", "weather"),
        "vocabularies": (("Ulm", "Bonn"), (), ("fog", "sun", "rain")),
        "texts": (COLUMN,),
    }
    return Signature(
        pipeline="reviews",
        pipeline_version=1,
        numbers=("stars",),
        encoding=encoding,
        label_kind=LabelKind.REGRESSION,
        classes=(),
        **given | changes,
    )


ROWS = [("Bonn", "so good", "sun"), ("Rome", "", "rain")]


@pytest.mark.parametrize(
    ("encoding", "expected", "names"),
    [
        (Encoding.ORDINAL, [[1.0, 1.0], [-1.0, 2.0]], ("town", "weather")),
        (
            Encoding.ONE_HOT,
            [[0, 1, 0, 1, 0], [0, 0, 0, 0, 1]],
            ("town=Ulm", "town=Bonn", "weather=fog", "weather=sun", "weather=rain"),
        ),
    ],
)
def test_a_text_stands_where_its_column_stands(encoding, expected, names):
    signature = a_signature(encoding)
    matrix = signature.encode(np.array([[5.0], [np.nan]]), ROWS)
    span = signature.spans[1]

    assert matrix.shape == (2, signature.width)
    assert len(signature.column_names) == len(set(signature.column_names)) == signature.width
    np.testing.assert_array_equal(matrix[:, span], COLUMN.encode([row[1] for row in ROWS]))
    rest = [place for place in range(1, signature.width) if not span.start <= place < span.stop]
    assert matrix[:, rest].tolist() == expected
    assert tuple(signature.column_names[place] for place in rest) == names


@pytest.mark.parametrize(
    "wrong",
    [
        {"texts": (replace(COLUMN, name="letter"),)},
        {"texts": (COLUMN, COLUMN)},
        {"vocabularies": (("Ulm",), ("good",), ())},
    ],
)
def test_a_text_that_fits_no_column_is_refused(wrong):
    with pytest.raises(InvalidSignatureError, match="text column"):
        a_signature(Encoding.ORDINAL, **wrong)
