"""ROUGE-L and BLEU are those of the libraries that the field uses, whatever is said and however the pairs are added up."""

from functools import reduce
from operator import add

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer
from sacrebleu.metrics.bleu import BLEU

from millrace_kernel.texts import normalised
from millrace_kernel.wording import NO_WORDING, Wording, rouge_l, together, worded

PIECES = [
    "the", "The", "cat", "sat", "on", "a", "mat", ".", ",", "3.5", "1,000", "1-", "e.g.", "&quot;", "&amp;lt;", "<skipped>",
    "-\n", "\n", "日本語", "🙂", "don't", "(so)", "-", "&", "\u2028", "\x1c", "ß", "ﬁ", "",
]  # fmt: skip
SENTENCES = st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join)
TEXTS = (
    SENTENCES | st.lists(st.sampled_from(PIECES), max_size=9).map("".join) | st.text(max_size=30)
)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6)


class Words(Tokenizer):
    """Its own drops all but a to z and digits."""

    def tokenize(self, text: str) -> list[str]:
        return normalised(text).split()


ROUGE = RougeScorer(["rougeL"], tokenizer=Words())


@given(TEXTS, TEXTS)
@example("", "")
@example("the cat sat", "the cat sat")
@example("a b a b a", "b a b a b")
def test_rouge_l_is_that_of_rouge_score(answer, truth):
    assert rouge_l(answer, truth) == ROUGE.score(truth, answer)["rougeL"].fmeasure


@given(PAIRS)
@example([("a b c d", "a b c d")])
@example([("a", "a b c d e f")])
@example([("b a", "a b"), ("", "x")])
@example([("the the the the", "the cat")])
def test_bleu_is_that_of_sacrebleu(pairs):
    answers, truths = map(list, zip(*pairs, strict=True))
    theirs = BLEU(effective_order=True).corpus_score(answers, [truths]).score / 100
    assert together(pairs).bleu == pytest.approx(min(1.0, theirs), rel=1e-12, abs=1e-15)


@given(PAIRS, PAIRS)
def test_sums_of_two_sets_add_up_to_those_of_both(some, others):
    both, added = together([*some, *others]), together(some) + together(others)
    assert (both.pairs, both.matched, both.given, both.wanted) == (
        added.pairs, added.matched, added.given, added.wanted,
    )  # fmt: skip
    assert both.rouge_l == pytest.approx(added.rouge_l)
    assert both.bleu == added.bleu


@given(PAIRS)
def test_a_mean_of_rouge_l_is_that_of_the_pairs(pairs):
    each = [rouge_l(*pair) for pair in pairs]
    assert together(pairs).mean_rouge_l == pytest.approx(sum(each) / len(each))
    assert reduce(add, (worded(*pair) for pair in pairs)) == together(pairs)


def test_of_nothing_nothing_is_said():
    assert (NO_WORDING.mean_rouge_l, NO_WORDING.bleu, NO_WORDING + NO_WORDING) == (0, 0, Wording())


def test_long_texts_are_compared_whole():
    """The longest common subsequence of 4,000 words, which a table of so many cells takes seconds for."""
    one = [f"w{number * 7919 % 1009}" for number in range(4_000)]
    assert rouge_l(" ".join(one), " ".join(one)) == 1.0
    assert rouge_l(" ".join(one), " ".join(["w1", *one, "w2"])) == pytest.approx(
        2 / (1 + 4_002 / 4_000)
    )
