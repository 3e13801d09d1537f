import pytest

from millrace_ingestion.application.handlers import on_submission
from millrace_ingestion.application.pipelines import PipelinesInForce
from millrace_ingestion.domain.events import EventAccepted, EventLabelled, Kind, LabelObserved
from millrace_ingestion.domain.ledger import NOTHING


class MemoryLedger(dict):
    def of(self, pipeline, event_id):
        return self.get((pipeline, event_id), NOTHING)

    def put(self, pipeline, event_id, known):
        self[pipeline, event_id] = known


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def routes(pipeline):
    view = PipelinesInForce()
    view.apply(pipeline("bikes", topic="rides"))
    view.apply(pipeline("trams", topic="rides", fields="speed: float", version=4))
    return view.routes("rides")


def test_each_pipeline_of_the_topic_makes_its_own_event(routes, ledger, submit, row):
    outcome = on_submission(submit(row(speed=3)), routes, ledger)

    assert [
        (event.pipeline, event.pipeline_version, event.numbers) for event in outcome.outputs
    ] == [
        ("bikes", 1, (20.5, 11.0)),
        ("trams", 4, (3.0,)),
    ]
    assert outcome.refused is None


def test_one_pipeline_may_accept_what_another_refuses(routes, ledger, submit, row):
    outcome = on_submission(submit(row()), routes, ledger)

    assert [event.pipeline for event in outcome.outputs] == ["bikes"]
    assert "pipeline trams refuses it: speed: is missing; " in str(outcome.refused)
    assert list(ledger) == [("bikes", "e1")]


def test_what_was_seen_is_remembered_for_each_pipeline_apart(routes, ledger, submit, row):
    on_submission(submit(row()), routes, ledger)

    again = on_submission(submit(row(speed=3)), routes, ledger)

    assert [event.pipeline for event in again.outputs] == ["trams"]


def test_on_a_topic_of_labels_everything_is_a_label(pipeline, ledger, submit):
    view = PipelinesInForce()
    view.apply(pipeline(label="field: cnt, kind: regression, topic: truths"))
    routes = view.routes("truths")

    given = on_submission(submit({"id": "e1", "label": 3}), routes, ledger)
    taken = on_submission(submit({"id": "e1"}, Kind.RETRACTION), routes, ledger)

    assert [type(output).__name__ for output in given.outputs + taken.outputs] == [
        "LabelObserved",
        "LabelRetracted",
    ]


def test_labels_that_features_aggregate_reach_their_entity(
    pipeline, ledger, submit, row, label_mean
):
    view = PipelinesInForce()
    view.apply(pipeline(features=label_mean))
    routes = view.routes("millrace.raw.bikes")

    accepted = on_submission(submit(row()), routes, ledger)
    labelled = on_submission(submit({"id": "e1", "label": 3}, Kind.LABEL), routes, ledger)
    unplaced = on_submission(submit({"id": "e2", "label": 3}, Kind.LABEL), routes, ledger)

    assert [type(output) for output in accepted.outputs] == [EventAccepted]
    assert [type(output) for output in labelled.outputs] == [LabelObserved, EventLabelled]
    assert labelled.outputs[1].entity == "s7"
    assert unplaced.outputs == ()
    assert "event 'e2' has not been seen in this partition" in str(unplaced.refused)
    assert ("bikes", "e2") not in ledger
