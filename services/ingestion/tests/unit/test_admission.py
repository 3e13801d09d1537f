import json

import pytest

from millrace_ingestion.adapters.raw import read_submission
from millrace_ingestion.application.admission import Fault, Request, admit
from millrace_ingestion.domain.events import MAX_VALUE_BYTES

HEADERS = {"recordedtime": b"2026-11-21T12:00:00.000000Z"}


@pytest.fixture
def offer(rules, noon):
    def admitted(*rows, labels_only=False, **pipeline):
        values = [
            value if isinstance(value, bytes) else json.dumps(value).encode() for value in rows
        ]
        return admit(
            rules(**pipeline), Request(values, HEADERS, noon, labels_only), read_submission
        )

    return admitted


def test_good_rows_are_appended_as_they_were_sent_by_their_entity(offer, row):
    spaced = json.dumps(row(id="e2", station="s8"), indent=4).encode()

    admission = offer(row(), spaced)

    assert admission.problems == ()
    assert [one.key for one in admission.rows] == ["s7", "s8"]
    assert admission.rows[1].value == spaced
    assert admission.rows[0].headers == HEADERS


def test_without_an_entity_the_id_is_the_key(offer, row):
    assert offer(row(), event="id: id, time: at").rows[0].key == "e1"


def test_one_bad_row_keeps_all_out(offer, row):
    admission = offer(row(), row(id=..., temp="warm"), row(id="e3"))

    assert admission.rows == ()
    assert [(one.index, one.fault, one.problem.field) for one in admission.problems] == [
        (1, Fault.INVALID, "id"),
        (1, Fault.INVALID, "temp"),
    ]


def test_unreadable_and_too_large_rows_are_told_from_invalid_ones(offer):
    large = b'{"a": "' + b"x" * MAX_VALUE_BYTES + b'"}'

    admission = offer(b"{", {}, large)

    assert [(one.index, one.fault) for one in admission.problems][-1] == (2, Fault.TOO_LARGE)
    assert {(one.index, one.fault) for one in admission.problems} >= {
        (0, Fault.UNREADABLE),
        (1, Fault.INVALID),
    }


def test_labels_are_marked_as_labels(offer):
    admission = offer(
        {"id": "e1", "label": 3, "entity": "s7"}, {"id": "e2", "label": None}, labels_only=True
    )

    assert [one.key for one in admission.rows] == ["s7", "e2"]
    assert [one.headers["ce_type"] for one in admission.rows] == [b"millrace.label"] * 2


def test_a_label_that_features_aggregate_must_say_its_entity(offer, label_mean):
    label = {"id": "e1", "label": 3}

    (problem,) = offer(label, labels_only=True, features=label_mean).problems

    assert (problem.problem.field, problem.problem.problem) == ("entity", "is missing")
    assert (
        offer(label | {"entity": "s7"}, labels_only=True, features=label_mean).rows[0].key == "s7"
    )
    assert (
        offer(label, labels_only=True, features=label_mean, event="id: id, time: at").rows[0].key
        == "e1"
    )
