"""How good answers in words are.

    exact_match  the share of answers that say what the label says, but for white space
    rouge_l      the mean of ROUGE-L's F-measure (Lin 2004) of answer and label, by `rouge_score`
    bleu         BLEU (Papineni et al. 2002) of all answers together, by `sacrebleu`, divided by 100

Each is 0 at worst and 1 at best. ROUGE compares words as `millrace_artifacts.texts.normalised` parts them, in any script;
BLEU parts them as sacrebleu does by default (13a), by up to as many words as an answer has (effective order).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from millrace_artifacts.texts import normalised
from millrace_kernel.texts import says_the_same

Floats = NDArray[np.float64]
_LONGEST = (
    2_000  # words of a text that are compared: the common subsequence takes the product of both
)


def wording_losses(answers: Sequence[str], truths: Sequence[str]) -> Floats:
    """float64 [rows]: 1 less ROUGE-L, 0 for what says the same in every word."""
    scorer = _rouge()
    found = {
        pair: 1.0 - float(scorer.score(pair[1], pair[0])["rougeL"].fmeasure)
        for pair in set(zip(answers, truths, strict=True))
    }
    return np.array([found[pair] for pair in zip(answers, truths, strict=True)], dtype=np.float64)


def wording_metrics(answers: Sequence[str], truths: Sequence[str]) -> dict[str, float]:
    """Of at least one answer."""
    same = [says_the_same(*pair) for pair in zip(answers, truths, strict=True)]
    return {
        "exact_match": float(np.mean(same)),
        "rouge_l": 1.0 - float(np.mean(wording_losses(answers, truths))),
        "bleu": _bleu(answers, truths),
    }


def _bleu(answers: Sequence[str], truths: Sequence[str]) -> float:
    from sacrebleu.metrics.bleu import BLEU  # nothing else needs it

    score = BLEU(effective_order=True).corpus_score(list(answers), [list(truths)]).score
    return min(1.0, float(score) / 100.0)


@cache
def _rouge() -> Any:  # noqa: ANN401  rouge_score is not typed
    # half a second of nltk, for a stemmer
    from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]
    from rouge_score.tokenizers import Tokenizer  # type: ignore[import-untyped]

    class _Words(Tokenizer):  # type: ignore[misc]  # not typed
        """Its own drops all but a to z and digits."""

        @override
        def tokenize(self, text: str) -> list[str]:
            return normalised(text).split()[:_LONGEST]

    return RougeScorer(["rougeL"], tokenizer=_Words())
