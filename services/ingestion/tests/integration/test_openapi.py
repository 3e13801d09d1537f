"""Everything that the service answers, held against its own OpenAPI document."""

import pytest
from hypothesis import strategies as st

from millrace_ingestion.entrypoints.http import app
from millrace_testkit.fuzzing.openapi import Known, hold_to_its_document
from millrace_testkit.fuzzing.rude import each_is_refused, to_a_body, to_every_path, to_the_methods

pytestmark = pytest.mark.timeout(300)

EVENTS, LABELS = "/v1/pipelines/{pipeline}/events", "/v1/pipelines/{pipeline}/labels"


@pytest.fixture
async def parts(world, pipeline):
    await world.apply(pipeline())
    async with world.ingesting() as parts:
        await world.has_topic("millrace.raw.bikes")
        yield parts


async def test_every_operation_answers_as_its_document_says(parts, row):
    anything = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.just([{}])
    rows = st.builds(
        lambda changed, more: row(**changed) | more,
        st.dictionaries(st.sampled_from(["id", "at", "station", "temp"]), anything, max_size=2),
        st.dictionaries(st.text(max_size=5), anything, max_size=1),
    )
    labels = st.fixed_dictionaries({"id": st.text(max_size=5), "label": anything})
    known = Known(names={"pipeline": ["bikes"]}, bodies={EVENTS: rows, LABELS: labels})

    operations = await hold_to_its_document(app(parts, parts.raw_topics.ready.is_set), known)

    assert {f"POST {EVENTS}", f"POST {LABELS}"} < set(operations)


async def test_what_no_client_would_send_is_refused_and_the_service_goes_on(world, parts):
    """All but the last are refused. A cut-off or unreadable request appends nothing."""
    events = EVENTS.replace("{pipeline}", "bikes")
    rude = [
        *to_a_body(events, "application/json"),
        *to_a_body(events, "application/x-ndjson"),
        *to_a_body(events, "application/cloudevents-batch+json"),
        *to_every_path("/v1/pipelines/{name}/events", "POST"),
        *to_the_methods(events),
    ]

    answers = each_is_refused(app(parts, parts.raw_topics.ready.is_set), rude)
    statuses = {request.what: answer.status async for request, answer in answers}

    # who still sends when it is hung up on may lose the answer to the reset
    assert statuses.get("fifty megabytes in chunks", 413) == 413
    assert statuses["the method PUT"] == 405
    assert 202 not in statuses.values()
    assert world.broker.records("millrace.raw.bikes") == []
