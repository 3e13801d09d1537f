"""Texts as people write them: the one form of equal ones, and what it means for two to say the same."""

import re
import unicodedata

_TOKEN = re.compile(r"\w+|[^\w\s]")  # a mark, and an emoji, is a word of its own


def normalised(text: str) -> str:
    """Compatible forms of a character are one, case counts for nothing (NFKC and case folding), one space between words."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_TOKEN.findall(folded))


def says_the_same(one: str, other: str) -> bool:
    """Whether they are equal but for white space: what `exact_match` counts, over a holdout and live."""
    return one == other or one.split() == other.split()
