"""Everything that the service answers, held against its own OpenAPI document."""

import pytest
from hypothesis import strategies as st

from millrace_serving.application.explanations import EXPLAIN
from millrace_serving.entrypoints.http import app
from millrace_testkit.fuzzing.openapi import Known, hold_to_its_document
from millrace_testkit.fuzzing.rude import each_is_refused, to_a_body, to_every_path, to_the_methods

pytestmark = pytest.mark.timeout(300)

INFER = "/v2/models/{name}/infer"


@pytest.fixture
async def parts(bed):
    await bed.promote(1, epoch=1)
    async with bed.serving() as parts:
        await bed.deployed(1)
        yield parts


def nearly_right_bodies() -> st.SearchStrategy:
    finite = st.floats(
        allow_nan=False, allow_infinity=False
    )  # no client library can write the others
    values = st.none() | finite | st.integers() | st.text(max_size=3) | st.booleans()
    tensors = st.builds(
        lambda name, datatype, data, shape: {
            "name": name,
            "datatype": datatype,
            "shape": shape or [len(data)],
            "data": data,
        },
        st.sampled_from(["temp", "hum", "weather", "features"]),
        st.sampled_from(["FP64", "FP32", "INT64", "BOOL", "BYTES"]),
        st.lists(values, max_size=3),
        st.none() | st.lists(st.integers(), max_size=3),
    )
    outputs = st.lists(st.fixed_dictionaries({"name": st.just("value") | st.text(max_size=3)}))
    right = {
        "inputs": [
            {"name": "temp", "datatype": "FP64", "shape": [1], "data": [1.5]},
            {"name": "hum", "datatype": "FP32", "shape": [1], "data": [None]},
            {"name": "weather", "datatype": "BYTES", "shape": [1], "data": ["rain"]},
        ]
    }
    return st.just(right) | st.fixed_dictionaries(
        {"inputs": st.lists(tensors, max_size=4)}, optional={"id": values, "outputs": outputs}
    )


async def test_every_operation_answers_as_its_document_says(parts):
    bodies = nearly_right_bodies()
    known = Known(
        names={"name": ["bikes"], "version": ["1"]},
        bodies={INFER: bodies, "/v2/models/{name}/versions/{version}/infer": bodies},
    )

    operations = await hold_to_its_document(app(parts, lambda: True), known)

    assert f"POST {INFER}" in operations


async def test_what_no_client_would_send_is_refused_and_the_service_goes_on(bed, parts):
    infer = INFER.replace("{name}", "bikes")
    rude = [
        *to_a_body(infer, "application/json"),
        *to_every_path("/v2/models/{name}/infer", "POST"),
        *to_every_path("/v2/models/{name}"),
        *to_every_path("/v2/models/bikes/versions/{name}"),
        *to_the_methods(infer),
    ]

    answers = each_is_refused(app(parts, lambda: True), rude)
    statuses = {request.what: answer.status async for request, answer in answers}

    # who still sends when it is hung up on may lose the answer to the reset
    assert statuses.get("fifty megabytes in chunks", 413) == 413
    assert statuses["the method PUT"] == 405
    assert 200 not in statuses.values()
    assert bed.predictions() == []


async def test_whatever_is_said_to_the_index_it_answers_or_refuses(parts):
    rude = to_a_body("/v2/repository/index", "application/json")  # a body may be left out

    answers = each_is_refused(app(parts, lambda: True), rude)
    statuses = {request.what: answer.status async for request, answer in answers}

    assert statuses["no body"] == 200
    assert statuses["a list"] == 400


async def test_the_document_names_what_a_request_may_say_and_what_comes_back(bed, parts):
    async with bed.client(parts) as client:
        document = (await client.get("/openapi.json")).json()
    for path in (INFER, "/v2/models/{name}/versions/{version}/infer"):
        infer = document["paths"][path]["post"]
        content = infer["requestBody"]["content"]
        request = content["application/json"]["schema"]["properties"]
        answer = infer["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
        headers = {each["name"] for each in infer["parameters"] if each["in"] == "header"}

        assert set(request["parameters"]["properties"]) == {
            "binary_data_output", "complete", "entity", EXPLAIN,
        }  # fmt: skip
        assert {"freshness", "vector_times", "explanation"} <= set(
            answer["parameters"]["properties"]
        )
        assert headers == {"Inference-Header-Content-Length", "Content-Encoding"}
        assert "application/octet-stream" in content
        assert "data" not in request["inputs"]["items"]["required"]  # it may stand behind the JSON
