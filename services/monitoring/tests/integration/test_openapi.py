"""Everything that the service answers, held against its own OpenAPI document."""

import numpy as np
import pytest

from millrace_monitoring.entrypoints.http import create
from millrace_testkit.fuzzing.openapi import Known, hold_to_its_document
from millrace_testkit.fuzzing.rude import each_is_refused, to_every_path, to_the_methods

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def parts(world):
    """A champion whose inputs have drifted, with labels."""
    rng = np.random.default_rng(1)
    world.apply()
    world.promote()
    world.label(rng, world.predict(rng, range(250), mean=25.0), error=8.0)
    async with world.monitoring() as parts:
        await world.settled(parts)
        yield parts


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_operation_answers_as_its_document_says(parts):
    operations = await hold_to_its_document(
        create(parts, lambda: True), Known(names={"pipeline": ["bikes"]})
    )

    assert "GET /v1/pipelines/{pipeline}/status" in operations


async def test_what_no_client_would_send_is_refused_and_the_service_goes_on(parts):
    rude = to_every_path("/v1/pipelines/{name}/status") + to_the_methods("/v1/pipelines")

    answers = each_is_refused(create(parts, lambda: True), rude)
    statuses = {request.what: answer.status async for request, answer in answers}

    assert {statuses[what] for what in statuses if what.endswith("for a name")} <= {404, 422}
    assert statuses["the method PUT"] == 405
