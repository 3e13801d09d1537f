"""The registry among its topics: what it hears, what it says, and that it says it once."""

import asyncio

from millrace_bus.broker import TopicPartition
from millrace_contracts.pipeline_file import pipeline_from_json
from millrace_proto.v1.commands_pb2 import (
    ApprovePromotion,
    PausePipeline,
    RejectPromotion,
    RollBack,
)
from millrace_proto.v1.deployments_pb2 import DeploymentFailed
from millrace_testkit.eventually import running


def kinds(messages):
    return [type(message).__name__ for message in messages]


async def test_a_candidate_becomes_the_champion_with_all_that_others_need(applied, completed):
    applied.say(completed(1))
    await applied.settled()

    registered, promoted = applied.heard()
    assert (registered.version, registered.run_id, dict(registered.metrics)) == (
        1,
        "run-1",
        {"mae": 50.0},
    )
    assert (promoted.pipeline, promoted.pipeline_version, promoted.version, promoted.epoch) == (
        "bikes",
        1,
        1,
        1,
    )
    assert (promoted.previous_version, promoted.run_id, promoted.trigger) == (0, "run-1", "drift")
    assert (promoted.cause_id, promoted.algorithm) == ("drift-1", "xgboost")
    assert (promoted.artifact_uri, promoted.artifact_sha256) == ("file:///objects/1", "ab" * 32)
    assert promoted.reference_profile == b'{"columns":[]}'
    assert [verdict.passed for verdict in promoted.verdicts] == [True, True]
    assert promoted.verdicts[0].gate == "mae <= 100"


async def test_the_signature_goes_on_to_whoever_loads_the_model(applied, completed):
    first, second = completed(1), completed(2)
    applied.say(first)
    applied.say(second)
    await applied.settled()
    applied.say(RollBack(pipeline="bikes", version=1, actor="ada", reason="why not"))
    await applied.settled()

    for told in applied.heard():
        given = {1: first, 2: second}[told.version]
        assert (told.artifact_signature, told.signing_key_id) == (
            given.artifact_signature,
            given.signing_key_id,
        )
        assert (told.pipeline_version, told.run_id) == (given.pipeline_version, given.run_id)
    kinds = [type(told).__name__ for told in applied.heard()]
    assert kinds[-1] == "ModelRolledBack"


async def test_a_candidate_that_nobody_trusted_has_signed_is_not_registered(applied, completed):
    unsigned, forged, good = completed(1), completed(2), completed(3)
    unsigned.ClearField("artifact_signature")
    forged.artifact_sha256 = "ef" * 32
    for candidate in (unsigned, forged, good):
        applied.say(candidate)
    await applied.settled()

    first, second, registered, *_ = applied.heard()
    assert [(one.version, one.run_id) for one in (first, second)] == [(0, "run-1"), (0, "run-2")]
    assert "is not signed" in first.reason
    assert "was changed after signing" in second.reason
    assert (type(registered).__name__, registered.version) == ("ModelRegistered", 1)
    assert (await applied.get("/bikes/models/1"))["signing_key_id"] == good.signing_key_id


async def test_what_it_says_carries_the_causal_chain(applied, completed):
    cause = applied.say(completed(1))
    await applied.settled()

    headers = [dict(record.headers) for record in applied.broker.records("millrace.models")]
    assert {header["ce_causationid"].decode() for header in headers} == {cause}
    assert {header["ce_correlationid"] for header in headers} == {b"chain"}
    assert len({header["ce_id"] for header in headers}) == 2
    assert {record.key for record in applied.broker.records("millrace.models")} == {b"bikes"}


async def test_the_loop_of_promotions_rejections_and_roll_backs(applied, completed):
    applied.say(completed(1))
    applied.say(completed(2))
    applied.say(completed(3, metrics={"mae": 120.0}))
    await applied.settled()
    applied.say(RollBack(pipeline="bikes", actor="ada", reason="odd answers"))
    await applied.settled()
    applied.say(ApprovePromotion(pipeline="bikes", version=3, actor="ada", reason="still better"))
    await applied.settled()
    applied.say(
        DeploymentFailed(
            pipeline="bikes", version=3, epoch=4, instance="serving-0", reason="no such artifact"
        )
    )
    await applied.settled()

    assert kinds(applied.heard()) == [
        "ModelRegistered", "ModelPromoted", "ModelRegistered", "ModelPromoted", "ModelRegistered", "ModelRejected",
        "ModelRolledBack", "ModelPromoted", "ModelRolledBack",
    ]  # fmt: skip
    epochs = [message.epoch for message in applied.heard() if hasattr(message, "epoch")]
    assert epochs == [1, 2, 3, 4, 5]
    back = applied.heard()[-1]
    assert (back.version, back.previous_version) == (1, 3)
    assert back.reason == "version 3 could not be deployed on serving-0: no such artifact"
    assert back.reference_profile == b'{"columns":[]}'


async def test_a_command_that_cannot_be_carried_out_is_dead_lettered_with_the_reason(
    applied, completed
):
    applied.say(ApprovePromotion(pipeline="bikes", actor="ada"))
    applied.say(RejectPromotion(pipeline="trams", actor="ada"))
    applied.say(PausePipeline(pipeline="bikes", paused=True, actor="ada"))
    await applied.settled()
    applied.say(completed(1))
    await applied.settled()

    reasons = [
        b" ".join(headers.values()).decode() for headers in applied.dead("millrace.commands")
    ]
    assert len(reasons) == 2
    assert "no version of bikes waits for approval" in reasons[0]
    assert "no pipeline is called 'trams'" in reasons[1]
    assert kinds(applied.heard()) == ["ModelRegistered", "ApprovalRequested"]


async def test_what_a_database_cannot_keep_is_dead_lettered(applied, completed):
    applied.say(completed(1, algorithm="x\0y"))
    applied.say(completed(2, run_id="r" * 5000))
    applied.say(completed(3, champion_version=0))
    await applied.settled()

    assert len(applied.dead("millrace.training")) == 2
    assert kinds(applied.heard()) == ["ModelRegistered", "ModelPromoted"]


async def test_a_message_that_comes_twice_counts_once(applied, completed):
    applied.say(completed(1))
    applied.say(completed(1), again=True)  # the same message, dropped by the fence
    applied.say(completed(1))  # another message about the same run
    for _ in range(2):
        applied.say(completed(2))
    await applied.settled()
    for _ in range(2):  # commands carry no sequence: their id is what tells
        applied.say(RollBack(pipeline="bikes"), id="one", again=True)
    await applied.settled()

    assert kinds(applied.heard()) == [
        "ModelRegistered", "ModelPromoted", "ModelRegistered", "ModelPromoted", "ModelRolledBack",
    ]  # fmt: skip
    assert applied.dead("millrace.commands") == []


async def test_a_file_in_force_is_published_with_those_before(applied, bikes):
    await applied.apply(bikes.replace("strategy: direct", "strategy: manual"))
    await applied.settled()

    first, second = applied.heard("millrace.pipelines")
    assert (first.version, second.version) == (1, 2)
    assert pipeline_from_json(second.spec_json).version == 2
    assert [pipeline_from_json(text).version for text in second.earlier_spec_json] == [1]
    assert second.spec_sha256 != first.spec_sha256
    sequences = [
        dict(record.headers)["ce_sequence"]
        for record in applied.broker.records("millrace.pipelines")
    ]
    assert sequences == sorted(sequences)


async def test_files_applied_at_the_same_time_come_into_force_one_after_the_other(registry, bikes):
    texts = [bikes.replace("seed: 0", f"seed: {seed}") for seed in range(4)]

    responses = await asyncio.gather(*(registry.apply(text) for text in texts))
    await registry.settled()

    assert sorted(response.json()["version"] for response in responses) == [1, 2, 3, 4]
    assert [message.version for message in registry.heard("millrace.pipelines")] == [1, 2, 3, 4]


async def test_two_processes_decide_one_after_the_other(applied, second_registry, completed):
    async with running(second_registry.worker), second_registry.client:
        for number in range(1, 13):
            applied.say(
                completed(
                    number, champion_version=0, metrics={"mae": 200.0 if number % 2 else 50.0}
                )
            )
            applied.say(ApprovePromotion(pipeline="bikes", version=number))
            applied.say(RollBack(pipeline="bikes"))
            await asyncio.sleep(0.01)
        await applied.settled()

    epochs = [message.epoch for message in applied.heard() if hasattr(message, "epoch")]
    assert epochs == sorted(set(epochs))
    assert epochs == list(range(1, len(epochs) + 1))


async def test_a_process_that_starts_again_goes_on_where_it_was(
    applied, second_registry, completed
):
    applied.say(completed(1))
    await applied.settled()
    applied.broker.append(TopicPartition("millrace.training", 0), [])
    async with running(second_registry.worker), second_registry.client:
        applied.say(completed(2))
        await applied.settled()
        models = await second_registry.get("/bikes/models")

    assert [(model["version"], model["stage"]) for model in models] == [
        (2, "champion"),
        (1, "former champion"),
    ]
