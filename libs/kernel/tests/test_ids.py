"""Derived ids are uuid5s: equal parts, equal id."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.ids import DerivedIds, derived_id

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://millrace.dev/ids")
parts = st.lists(
    st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"])),
    min_size=1,
    max_size=4,
)


@given(parts)
def test_it_is_the_uuid5_that_the_standard_library_computes(texts: list[str]):
    assert derived_id(*texts) == str(uuid.uuid5(NAMESPACE, "\x1f".join(texts)))


@given(parts, parts)
def test_other_parts_give_another_id(one: list[str], other: list[str]):
    assert (derived_id(*one) == derived_id(*other)) == (one == other)


@given(parts, st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"])))
def test_hashing_the_first_parts_once_gives_the_same_ids(first: list[str], last: str):
    assert DerivedIds(*first).of(last.encode()) == derived_id(*first, last)
