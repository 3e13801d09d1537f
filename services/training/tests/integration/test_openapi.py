"""Everything that the service answers, held against its own OpenAPI document."""

import pytest

from millrace_testkit.eventually import running
from millrace_testkit.fuzzing.openapi import Known, hold_to_its_document
from millrace_testkit.fuzzing.rude import each_is_refused, to_every_path, to_the_methods
from millrace_training.entrypoints.http import create

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def trained(service, neighbours, parts):
    """A run has ended, another was put off."""
    async with running(*parts()):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        await neighbours.hears("TrainingCompleted")
        await neighbours.drift(61)
        await neighbours.hears("RetrainSkipped")
        yield service


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_operation_answers_as_its_document_says(trained):
    operations = await hold_to_its_document(
        create(trained, lambda: True), Known(names={"pipeline": ["bikes"], "number": ["1"]})
    )

    assert {
        "GET /v1/pipelines/{pipeline}/decisions",
        "GET /v1/pipelines/{pipeline}/costs",
    } <= set(operations)


async def test_what_no_client_would_send_is_refused_and_the_service_goes_on(trained):
    rude = [
        *(
            request
            for what in ("status", "runs", "runs/1", "datasets", "decisions", "costs")
            for request in to_every_path(f"/v1/pipelines/{{name}}/{what}")
        ),
        *to_every_path("/v1/pipelines/bikes/runs?limit={name}"),
        *to_the_methods("/v1/pipelines"),
    ]

    answers = each_is_refused(create(trained, lambda: True), rude)
    statuses = {request.what: answer.status async for request, answer in answers}

    assert {statuses[what] for what in statuses if what.endswith("for a name")} <= {404, 422}
    assert statuses["the method PUT"] == 405
