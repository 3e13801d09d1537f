"""What people and programs see over HTTP."""

import json

import pytest

from millrace_contracts.pipeline_file import pipeline_to_json, read_pipeline


@pytest.fixture
def database_url(tmp_path) -> str:
    """HTTP is the same whatever is below it; what it shows is tested on either database in `test_views`."""
    return f"sqlite:///{tmp_path / 'registry.db'}"


async def test_a_new_file_is_answered_with_its_version(registry, bikes):
    response = await registry.apply(bikes)

    assert response.status_code == 201
    assert response.headers["location"] == "/v1/pipelines/bikes"
    assert response.json() | {"digest": ""} == {
        "name": "bikes",
        "version": 1,
        "digest": "",
        "changed": True,
    }


async def test_the_same_file_again_changes_nothing_in_whatever_form(registry, bikes):
    await registry.apply(bikes)

    for text in (bikes, pipeline_to_json(read_pipeline(bikes)), "# a comment\n" + bikes):
        response = await registry.apply(text)
        assert (response.status_code, response.json()["version"], response.json()["changed"]) == (
            200,
            1,
            False,
        )
    await registry.settled()
    assert len(registry.heard("millrace.pipelines")) == 1


async def test_going_back_to_an_old_file_is_a_new_version(registry, bikes):
    other = bikes.replace("strategy: direct", "strategy: manual")

    versions = [
        (await registry.apply(text)).json()["version"]
        for text in (bikes, other, bikes, bikes, other)
    ]

    assert versions == [1, 2, 3, 3, 4]


async def test_a_wrong_file_is_refused_with_every_problem(registry, bikes):
    response = await registry.apply(
        bikes.replace("mae", "mea").replace("strategy: direct", "strategy: shadowy")
    )

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problems = response.json()["problems"]
    assert [problem["path"] for problem in problems] == [
        "spec.gates[0].metric", "spec.gates[1].metric", "spec.promotion.strategy",
    ]  # fmt: skip
    assert problems[0]["fix"] == "did you mean 'mae'?"
    assert problems[0]["line"] == 1 + bikes[: bikes.index("mae")].count("\n")
    assert (await registry.get("")) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"\xff\xfe", 422), (b"", 422), (b"x" * 300_000, 422), (b"x" * 600_000, 413)],
)
async def test_a_body_that_is_no_file(registry, body, status):
    assert (await registry.client.post("/v1/pipelines", content=body)).status_code == status


@pytest.mark.parametrize(
    "path", ["/trams", "/trams/models", "/trams/models/1", "/trams/promotions", "/bikes/models/7"]
)
async def test_what_is_not_there_is_not_found(applied, path):
    response = await applied.client.get(f"/v1/pipelines{path}")

    assert response.status_code == 404
    assert response.json()["title"] in ("UnknownPipelineError", "UnknownVersionError")


@pytest.mark.parametrize(
    ("asked", "type_name", "fields"),
    [
        (
            {"kind": "approve", "version": 2, "actor": "ada"},
            "ApprovePromotion",
            {"version": 2, "actor": "ada"},
        ),
        ({"kind": "reject", "reason": "no"}, "RejectPromotion", {"version": 0, "reason": "no"}),
        ({"kind": "rollback"}, "RollBack", {"version": 0}),
        ({"kind": "retrain", "actor": "ada"}, "Retrain", {"actor": "ada"}),
        ({"kind": "pause"}, "PausePipeline", {"paused": True}),
        ({"kind": "pause", "paused": False}, "PausePipeline", {"paused": False}),
    ],
)
async def test_a_command_goes_through_the_topic(applied, asked, type_name, fields):
    response = await applied.client.post("/v1/pipelines/bikes/commands", json=asked)

    assert response.status_code == 202
    (message,) = applied.heard("millrace.commands")
    (record,) = applied.broker.records("millrace.commands")
    assert type(message).__name__ == type_name
    assert message.pipeline == "bikes"
    assert {name: getattr(message, name) for name in fields} == fields
    assert dict(record.headers)["ce_id"].decode() == response.json()["id"]
    assert record.key == b"bikes"


async def test_a_command_asked_again_with_its_key_counts_once(applied, completed):
    for number in (1, 2, 3):
        applied.say(completed(number))
    await applied.settled()

    answers = [
        await applied.client.post(
            "/v1/pipelines/bikes/commands",
            json={"kind": "rollback"},
            headers={"Idempotency-Key": "once"},
        )
        for _ in range(3)
    ]
    await applied.settled()

    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await applied.get("/bikes"))["pipeline"]["champion"] == 2


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "destroy"},
        {"kind": "approve", "version": -1},
        {"kind": "pause", "actor": "a\0b"},
        {},
        {"kind": "pause", "x": 1},
    ],
)
async def test_a_command_that_is_none_is_refused(applied, asked):
    assert (
        await applied.client.post("/v1/pipelines/bikes/commands", json=asked)
    ).status_code == 422


async def test_a_command_for_an_unknown_pipeline_is_not_sent(applied):
    response = await applied.client.post("/v1/pipelines/trams/commands", json={"kind": "retrain"})

    assert response.status_code == 404
    assert applied.heard("millrace.commands") == []


async def test_it_says_what_every_service_says(registry):
    assert (await registry.client.get("/health/live")).json() == {"live": True}
    assert (await registry.client.get("/health/ready")).json() == {"ready": True}
    assert "millrace_messages_consumed" in (await registry.client.get("/metrics")).text
    schema = (await registry.client.get("/v1/schemas/pipeline")).json()
    assert json.dumps(schema)
    assert (await registry.client.get("/openapi.json")).status_code == 200
