"""Everything that the service answers, held against its own OpenAPI document."""

import pytest
from hypothesis import strategies as st

from millrace_registry.entrypoints.http import create
from millrace_testkit.fuzzing.openapi import Known, hold_to_its_document
from millrace_testkit.fuzzing.rude import each_is_refused, to_a_body, to_every_path, to_the_methods

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def database_url(tmp_path) -> str:
    """HTTP is the same whatever is below it; what it shows is tested on either database in `test_views`."""
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
async def app(applied, completed):
    """Two versions: the first is the champion."""
    for number in (1, 2):
        applied.say(completed(number))
        await applied.settled()
    return create(applied.parts, applied.worker, applied.worker.ready.is_set)


async def test_every_operation_answers_as_its_document_says(app):
    texts = st.text(max_size=5)
    asked = st.fixed_dictionaries(
        {"kind": st.sampled_from(["approve", "reject", "rollback", "retrain", "pause", "forget"])},
        optional={"version": st.integers(), "actor": texts, "reason": texts, "paused": texts},
    )
    known = Known(
        names={"name": ["bikes"], "version": ["1", "2"]},
        bodies={"/v1/pipelines/{name}/commands": asked},
    )

    operations = await hold_to_its_document(app, known)

    assert "POST /v1/pipelines" in operations


async def test_what_no_client_would_send_is_refused_and_the_service_goes_on(app, applied):
    commands = "/v1/pipelines/bikes/commands"
    rude = [
        *to_a_body(commands, "application/json"),
        *to_a_body("/v1/pipelines", "application/yaml"),
        *to_every_path("/v1/pipelines/{name}/commands", "POST"),
        *to_every_path("/v1/pipelines/{name}/models"),
        *to_every_path("/v1/pipelines/bikes/models/{name}"),
        *to_every_path("/v1/pipelines/bikes/models?limit={name}&before={name}"),
        *to_the_methods(commands),
    ]

    statuses = {request.what: answer.status async for request, answer in each_is_refused(app, rude)}

    # who still sends when it is hung up on may lose the answer to the reset
    assert statuses.get("fifty megabytes in chunks", 413) == 413
    assert statuses["the method PUT"] == 405
    assert applied.heard("millrace.commands") == []


@pytest.mark.parametrize(
    "asked",
    [
        rb'{"kind": "retrain", "reason": "\ud800"}',
        rb'{"kind": "retrain", "actor": "\udfff\ud800"}',
        rb'{"kind": "pause", "reason": "a\u0000b"}',
        rb'{"kind": "rollback", "version": NaN}',
    ],
)
async def test_a_command_that_could_not_be_written_is_refused(applied, asked):
    response = await applied.client.post(
        "/v1/pipelines/bikes/commands", content=asked, headers={"content-type": "application/json"}
    )

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert applied.heard("millrace.commands") == []
