"""How much of what answers say is in the words of their truths: ROUGE-L and BLEU, of any number of pairs.

    rouge_l  the mean of ROUGE-L's F-measure (Lin 2004), over the words of any script as `texts.normalised` parts them
    bleu     BLEU (Papineni et al. 2002) of all answers together, as sacrebleu has it by default (13a, exponential smoothing) with
             effective order: n-grams of up to four words, and of as many as the answers have

Both come of sums over the pairs, so windows and running totals need keep no texts, and what is measured live is what was measured on
a holdout. The figures are those of the libraries `rouge_score` and `sacrebleu`: tests hold them to it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import add

from millrace_kernel.texts import normalised

_ORDERS = 4  # n-grams of up to so many words
_NONE = (0,) * _ORDERS
_KEPT = (
    16  # pairs whose words are remembered: of one label several sums are kept, one after the other
)

_ESCAPED = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
# mteval-v13a: marks stand alone; so do full stops and commas but within a number, and a dash behind a digit
_PARTING = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


@dataclass(frozen=True, slots=True)
class Wording:
    """Sums over pairs of an answer and its truth. Those of two sets of pairs add up to those of both together.

    `matched` and `given` are by order, from one word to four: how many n-grams of the answers stand in their truths too, and how many
    there are.
    """

    pairs: int = 0
    rouge_l: float = 0.0  # the sum
    matched: tuple[int, ...] = _NONE
    given: tuple[int, ...] = _NONE
    wanted: int = 0  # words of the truths

    def __add__(self, other: "Wording") -> "Wording":
        return Wording(
            self.pairs + other.pairs,
            self.rouge_l + other.rouge_l,
            tuple(map(add, self.matched, other.matched)),
            tuple(map(add, self.given, other.given)),
            self.wanted + other.wanted,
        )

    @property
    def mean_rouge_l(self) -> float:
        """From 0 to 1; 0 of no pairs."""
        return self.rouge_l / self.pairs if self.pairs else 0.0

    @property
    def bleu(self) -> float:
        """From 0 to 1; 0 of no pairs."""
        if not any(self.matched):
            return 0.0
        logarithms, smoothing = 0.0, 1.0
        orders = [each for each in zip(self.matched, self.given, strict=True) if each[1]]
        for matched, given in orders:
            if not matched:
                smoothing *= 2.0
            share = 100.0 * matched / given if matched else 100.0 / (smoothing * given)
            logarithms += math.log(share)
        answered = self.given[0]
        brevity = math.exp(1 - self.wanted / answered) if answered < self.wanted else 1.0
        return min(1.0, brevity * math.exp(logarithms / len(orders)) / 100.0)


NO_WORDING = Wording()


@lru_cache(maxsize=_KEPT)
def worded(answer: str, truth: str) -> Wording:
    """Of one pair."""
    given, wanted = _parted(answer), _parted(truth)
    of_answer, of_truth = _ngrams(given), _ngrams(wanted)
    matched = [0] * _ORDERS
    for ngram, count in of_answer.items():
        matched[len(ngram) - 1] += min(count, of_truth.get(ngram, 0))
    totals = tuple(max(0, len(given) - order) for order in range(_ORDERS))
    return Wording(1, rouge_l(answer, truth), tuple(matched), totals, len(wanted))


def together(pairs: Iterable[tuple[str, str]]) -> Wording:
    """Of all pairs of an answer and its truth."""
    return reduce(add, (worded(*pair) for pair in pairs), NO_WORDING)


def rouge_l(answer: str, truth: str) -> float:
    """ROUGE-L's F-measure of one pair, from 0 to 1; 0 where one of them has no words."""
    given, wanted = normalised(answer).split(), normalised(truth).split()
    common = _common(given, wanted)
    if not common:
        return 0.0
    precision, recall = common / len(given), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, a word of `other` at a time: all of `one` stands in the bits of a number
    (Hyyrö, Bit-parallel LCS-length computation revisited, 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(one)) - 1
    bits = every
    for word in other:
        found = bits & places.get(word, 0)
        bits = ((bits + found) | (bits - found)) & every
    return len(one) - bits.bit_count()


def _parted(text: str) -> list[str]:
    """The words that BLEU counts."""
    line = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for escaped, mark in _ESCAPED:
        line = line.replace(escaped, mark)
    line = f" {line} "
    for pattern, replacement in _PARTING:
        line = pattern.sub(replacement, line)
    return line.split()


def _ngrams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(words[place : place + size])
        for size in range(1, _ORDERS + 1)
        for place in range(len(words) - size + 1)
    )
