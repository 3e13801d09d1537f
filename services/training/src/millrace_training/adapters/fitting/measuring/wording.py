"""How good answers in words are: `millrace_kernel.wording` over the rows of a holdout.

    exact_match  the share of answers that say what the label says, but for white space
    rouge_l      the mean of ROUGE-L's F-measure of answer and label
    bleu         BLEU of all answers together

Each is 0 at worst and 1 at best, and means the same live: monitoring counts by the same functions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from millrace_kernel.texts import says_the_same
from millrace_kernel.wording import rouge_l, together

Floats = NDArray[np.float64]


def wording_losses(answers: Sequence[str], truths: Sequence[str]) -> Floats:
    """float64 [rows]: 1 less ROUGE-L, 0 for what says the same in every word."""
    pairs = list(zip(answers, truths, strict=True))
    found = {pair: 1.0 - rouge_l(*pair) for pair in set(pairs)}
    return np.array([found[pair] for pair in pairs], dtype=np.float64)


def wording_metrics(answers: Sequence[str], truths: Sequence[str]) -> dict[str, float]:
    """Of at least one answer."""
    same = [says_the_same(*pair) for pair in zip(answers, truths, strict=True)]
    return {
        "exact_match": float(np.mean(same)),
        "rouge_l": 1.0 - float(np.mean(wording_losses(answers, truths))),
        "bleu": together(zip(answers, truths, strict=True)).bleu,
    }
