"""How an explanation is told: each feature by its name, for each row, and for each class where there are several."""

import numpy as np

from millrace_serving.domain.columns import Columns
from millrace_serving.domain.explanation import Explanation

COLUMNS = Columns(("temp", "hum"), ("weather",))


def test_of_one_output_each_feature_has_a_number_for_each_row():
    contributions = np.array([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]])

    told = Explanation("log_odds", np.array([0.5]), contributions).as_json(COLUMNS, ())

    assert told == {
        "space": "log_odds",
        "base": 0.5,
        "contributions": {"temp": [1.0, 4.0], "hum": [2.0, 5.0], "weather": [3.0, 6.0]},
    }


def test_of_several_classes_each_row_has_a_number_for_each():
    contributions = np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])

    told = Explanation("logits", np.array([0.1, 0.2]), contributions).as_json(COLUMNS, ("a", "b"))

    assert told == {
        "space": "logits",
        "base": [0.1, 0.2],
        "contributions": {"temp": [[1.0, 2.0]], "hum": [[3.0, 4.0]], "weather": [[5.0, 6.0]]},
        "outputs": ["a", "b"],
    }


def test_what_is_not_finite_is_no_number():
    contributions = np.array([[[np.inf], [-np.inf], [7.0]]])

    told = Explanation("value", np.array([0.0]), contributions).as_json(COLUMNS, ())

    shares = told["contributions"]
    assert np.isnan([*shares["temp"], *shares["hum"]]).all()  # null, when it is written as JSON
    assert shares["weather"] == [7.0]
