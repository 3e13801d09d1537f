import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_artifacts.errors import InvalidSignatureError, WrongColumnsError
from millrace_artifacts.signature import Encoder, Encoding, Signature
from millrace_kernel.pipeline import LabelKind


def a_signature(**changes: object) -> Signature:
    fields: dict[str, object] = {
        "pipeline": "bikes",
        "pipeline_version": 1,
        "numbers": ("temp",),
        "categories": ("weather", "day"),
        "vocabularies": (("clear", "rain"), ("mon",)),
        "encoding": Encoding.ORDINAL,
        "label_kind": LabelKind.REGRESSION,
        "classes": (),
    }
    return Signature(**(fields | changes))  # type: ignore[arg-type]


def test_ordinal_codes_are_places_in_the_vocabulary_and_unknown_texts_minus_one():
    matrix = a_signature().encode(np.array([[0.5], [1.5]]), [("rain", "mon"), ("hail", "")])
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[0.5, 1.0, 0.0], [1.5, -1.0, -1.0]]


def test_one_hot_sets_one_column_per_known_text_and_none_for_an_unknown_one():
    signature = a_signature(encoding=Encoding.ONE_HOT)
    matrix = signature.encode(np.array([[0.5], [1.5]]), [("rain", "mon"), ("hail", "")])
    assert signature.column_names == ("temp", "weather=clear", "weather=rain", "day=mon")
    assert matrix.tolist() == [[0.5, 0.0, 1.0, 1.0], [1.5, 0.0, 0.0, 0.0]]


def test_the_empty_text_has_a_code_of_its_own_where_it_was_learnt():
    signature = a_signature(vocabularies=(("", "rain"), ("mon",)))
    assert signature.encode(np.array([[0.0]]), [("", "mon")])[0, 1] == 0.0


def test_missing_numbers_stay_missing_and_huge_ones_become_the_largest_float32():
    signature = a_signature(numbers=("a", "b", "c", "d"), categories=(), vocabularies=())
    matrix = signature.encode(np.array([[np.nan, np.inf, -np.inf, 1e300]]), [()])
    largest = np.finfo(np.float32).max
    assert np.isnan(matrix[0, 0])
    assert matrix[0, 1:].tolist() == [largest, -largest, largest]


def test_without_category_columns_no_categories_need_be_given():
    signature = a_signature(categories=(), vocabularies=())
    assert signature.encode(np.array([[1.0], [2.0]]), ()).tolist() == [[1.0], [2.0]]


def test_without_number_columns_only_categories_are_encoded():
    signature = a_signature(numbers=())
    assert signature.encode(np.empty((1, 0)), [("rain", "mon")]).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("numbers", "categories"),
    [
        (np.zeros((1, 2)), [("rain", "mon")]),
        (np.zeros(1), [("rain", "mon")]),
        (np.zeros((2, 1)), [("rain", "mon")]),
        (np.zeros((1, 1)), [("rain",)]),
    ],
)
def test_rows_without_the_models_columns_are_refused(numbers, categories):
    with pytest.raises(WrongColumnsError):
        a_signature().encode(numbers, categories)


@pytest.mark.parametrize(
    "changes",
    [
        {"numbers": ("temp", "temp")},
        {"numbers": ("day",)},
        {"vocabularies": (("clear",),)},
        {"vocabularies": (("clear", "clear"), ("mon",))},
        {"numbers": (), "categories": (), "vocabularies": ()},
        {"classes": ("0", "1")},
        {"label_kind": LabelKind.BINARY, "classes": ("1", "0")},
        {"label_kind": LabelKind.MULTICLASS, "classes": ("a",)},
        {"label_kind": LabelKind.MULTICLASS, "classes": ("a", "a")},
    ],
)
def test_a_signature_that_contradicts_itself_is_refused(changes):
    with pytest.raises(InvalidSignatureError, match="bikes version 1"):
        a_signature(**changes)


@given(st.lists(st.tuples(st.floats(width=32), st.text(max_size=3), st.text(max_size=3))))
def test_rows_are_encoded_independently_of_each_other(rows):
    encoder = Encoder(a_signature(encoding=Encoding.ONE_HOT))
    numbers = np.array([[row[0]] for row in rows], dtype=np.float64).reshape(-1, 1)
    together = encoder.encode(numbers, [row[1:] for row in rows])
    apart = [encoder.encode(numbers[at : at + 1], [row[1:]])[0] for at, row in enumerate(rows)]
    assert together.shape == (len(rows), encoder.signature.width)
    assert np.array_equal(together, np.array(apart).reshape(together.shape), equal_nan=True)
