"""Free text that is too long is refused with its size; else it comes through as it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_ingestion.domain.events import Kind
from millrace_ingestion.domain.problems import Refusal, WrongValueError
from millrace_ingestion.domain.validation import validate
from millrace_ingestion.domain.values import text_reader


@pytest.fixture
def event(rules, submit, row):
    made = rules(
        fields="temp: float, weather: category, note: {type: text, max_bytes: 12}, hour: int"
    )

    def checked(**changes):
        return validate(made, submit(row(**changes)))

    return checked


def test_a_text_comes_through_as_it_was_written(event):
    assert event(note=" Naß! 🙂").accepted.texts == ("clear", " Naß! 🙂")


@pytest.mark.parametrize("note", ["thirteen char", "sehr naß 🙂🙂"])
def test_one_that_is_too_long_is_refused(event, note):
    refusal = event(note=note)
    assert isinstance(refusal, Refusal)
    size = len(note.encode())
    [problem] = refusal.problems
    assert (problem.field, problem.problem) == ("note", f"has {size} bytes")
    assert "12" in problem.fix
    assert "max_bytes" in problem.fix


def test_a_required_one_must_be_there(event):
    assert isinstance(event(note=""), Refusal)


@given(st.text(st.characters(exclude_characters="\0"), max_size=20), st.integers(1, 60))
def test_bytes_count_not_characters(text, most):
    read = text_reader(most)
    if len(text.encode(errors="surrogatepass")) <= most:
        assert read(text) == text
    else:
        with pytest.raises(WrongValueError):
            read(text)


@pytest.fixture
def label(rules, submit):
    made = rules(fields="note: text", label="field: reply, kind: text")

    def checked(value):
        return validate(made, submit({"id": "e1", "label": value, "entity": "s7"}, Kind.LABEL))

    return checked


def test_a_corrected_answer_comes_in_as_a_label(label):
    assert label(" Open it.\nThen close it. ").value == " Open it.\nThen close it. "
    assert label(None).value is None


@pytest.mark.parametrize("value", ["", "  ", "x" * 9_000, 3.5, True, ["a"]])
def test_what_is_no_answer_in_words_is_refused(label, value):
    refusal = label(value)
    assert isinstance(refusal, Refusal)
    assert [problem.field for problem in refusal.problems] == ["label"]
