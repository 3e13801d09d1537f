"""Why an answer is what it is: each feature's share in it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace_serving.domain.columns import Columns, Numbers


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """SHAP values of some rows: `base[k] + contributions[row, :, k].sum()` is the model's raw output k for the row.

    `base` is [outputs], `contributions` [rows, features, outputs], the features in the order of the numbers, then the
    categories. `space` says what the sum is: value, probability, log_odds, or logits, of which the softmax gives the
    probabilities. There is one output, or for multiclass one per class.
    """

    space: str
    base: Numbers
    contributions: Numbers

    def as_json(self, columns: Columns, classes: tuple[str, ...]) -> dict[str, Any]:
        """As a response carries it: per feature one number for each row; multiclass: for each row one number per class.

        What is not finite is null: a linear model's answer to absurd inputs.
        """
        names = columns.numbers + columns.categories
        shares = np.where(np.isfinite(self.contributions), self.contributions, np.nan)
        several = bool(classes)
        found: dict[str, Any] = {
            "space": self.space,
            "base": self.base.tolist() if several else float(self.base[0]),
            "contributions": {
                name: (shares[:, place] if several else shares[:, place, 0]).tolist()
                for place, name in enumerate(names)
            },
        }
        return {**found, "outputs": list(classes)} if several else found
