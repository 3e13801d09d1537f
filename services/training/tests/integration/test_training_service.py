"""Vectors, labels and drift in; decisions and candidates out."""

import asyncio
from io import BytesIO

import pyarrow.parquet as pq
import pytest

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.keys import TrustedKeys
from millrace_artifacts.seal import Seal, Statement, check_seal
from millrace_artifacts.store import ObjectStore
from millrace_kernel.profile import profile_from_json
from millrace_kernel.time import HOUR, Instant, parse_rfc3339
from millrace_proto.v1 import commands_pb2, drift_pb2
from millrace_testkit.eventually import eventually, running
from millrace_training.adapters.sql.runs import SqlRuns

BEGINNING = parse_rfc3339("2026-03-01T00:00:00Z")
pytestmark = pytest.mark.timeout(180)


async def test_enough_labelled_rows_lead_to_a_first_candidate_that_says_all_about_itself(
    neighbours, parts, settings
):
    async with running(*parts()):
        await neighbours.apply()
        await neighbours.rows(0, 59)
        await neighbours.vector(59)
        assert neighbours.names() == []
        await neighbours.label(59)
        [(completed, headers)] = await neighbours.hears("TrainingCompleted")

    assert neighbours.names() == ["RetrainRequested", "TrainingStarted", "TrainingCompleted"]
    assert (completed.trigger, completed.run_number, completed.algorithm) == ("first", 1, "linear")
    assert completed.train_rows + completed.holdout_rows == 60
    assert completed.metrics["mae"] < 2
    assert profile_from_json(completed.reference_profile).metrics["mae"] == completed.metrics["mae"]
    store = ObjectStore(settings.objects)
    assert (
        read_artifact(store.get(completed.artifact_uri, completed.artifact_sha256)).algorithm
        == "linear"
    )
    rows = pq.read_table(BytesIO(store.get(completed.dataset_uri, completed.dataset_sha256)))
    assert rows.column("event_id").to_pylist() == [f"e{number:05d}" for number in range(60)]
    requested = neighbours.said()[0][2]
    assert headers["ce_causationid"] == requested["ce_id"]
    assert headers["ce_correlationid"] == requested["ce_correlationid"]


async def test_what_a_run_made_is_signed_and_compared_with_only_while_its_key_is_trusted(
    neighbours, parts, service, settings
):
    async with running(*parts()):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        [(first, _)] = await neighbours.hears("TrainingCompleted")
        statement = Statement("bikes", 1, first.run_id, first.artifact_sha256)
        check_seal(
            statement,
            Seal(first.signing_key_id, first.artifact_signature),
            TrustedKeys(settings.trusted_keys),
        )
        first.artifact_signature = b"forged"
        await neighbours.promote(first)
        await eventually(lambda: status_of(service).champion_version == 1)
        await neighbours.retrain()
        (_, (second, _)) = await neighbours.hears("TrainingCompleted", 2)

    assert dict(second.champion_metrics) == {}
    assert second.better_probability == 0.0
    newest = service.overview.runs("bikes", 1)[0]
    assert "not compared with the champion" in newest.reason
    assert "was changed after signing" in newest.reason


async def test_a_run_goes_on_with_the_trace_that_its_request_started(neighbours, parts):
    async with running(*parts()):
        await neighbours.apply()
        await neighbours.rows(0, 60)  # none of them sampled
        await neighbours.hears("ModelCardMade")

    traces = {name: headers["traceparent"].split("-")[1] for name, _, headers in neighbours.said()}
    told = {"RetrainRequested", "TrainingStarted", "TrainingCompleted", "ModelCardMade"}
    assert traces.keys() == told
    assert len(set(traces.values())) == 1


async def test_a_first_model_waits_for_the_very_row_that_makes_it_enough(neighbours, parts):
    async with running(*parts()):
        await neighbours.apply()
        for number in range(60):
            await neighbours.vector(number)
        for number in range(60):
            await neighbours.label(number)
        last = await neighbours.label(0, 7.0)  # a correction: not another row
        for number in range(100, 130):
            await neighbours.label(number)  # of events that have no vector
        await neighbours.hears("RetrainRequested")

    [requested, *_] = neighbours.said()
    assert requested[1].cause_id != last
    assert requested[1].cause_id.startswith("id-")


async def test_a_label_taken_back_is_not_counted(neighbours, parts, service):
    async with running(*parts()):
        await neighbours.apply()
        await neighbours.rows(0, 59)
        await neighbours.retract(0)
        await neighbours.rows(59, 60)
        await eventually(lambda: status_of(service) and status_of(service).labelled_rows == 59)
        assert neighbours.names() == []

        await neighbours.label(0)  # known before the retraction, so that one still counts
        await neighbours.rows(60, 61)
        await neighbours.hears("RetrainRequested")

    assert status_of(service).labelled_rows == 60


async def test_a_drift_leads_to_a_run_in_the_drifts_own_trace_compared_with_the_champion(
    neighbours, parts
):
    async with running(*parts()):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        [(first, _)] = await neighbours.hears("TrainingCompleted")
        await neighbours.promote(first)
        await neighbours.rows(60, 90)
        drift = await neighbours.drift(90)
        (_, (second, headers)) = await neighbours.hears("TrainingCompleted", 2)

    assert (second.trigger, second.cause_id, second.run_number) == ("drift", drift, 2)
    assert second.champion_version == 1
    assert second.champion_metrics.keys() == second.metrics.keys()
    assert 0 <= second.better_probability <= 1
    assert headers["ce_correlationid"] == drift.replace("id", "correlation")
    assert headers["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"


async def test_a_drift_in_the_cooldown_is_skipped_with_its_reason_and_honoured_when_it_ends(
    neighbours, parts
):
    async with running(*parts()):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        await neighbours.hears("TrainingCompleted")
        drift = await neighbours.drift(61)
        [(skipped, _)] = await neighbours.hears("RetrainSkipped")
        assert (skipped.reason, skipped.cause_id) == ("cooling_down", drift)
        assert "the cooldown is 12h" in skipped.detail

        await neighbours.rows(61, 70)
        assert neighbours.names().count("RetrainRequested") == 1
        await neighbours.vector(72)
        (_, (honoured, _)) = await neighbours.hears("RetrainRequested", 2)

    assert (honoured.trigger, honoured.cause_id) == ("drift", drift)


async def test_the_schedule_is_due_on_the_pipelines_own_clock(neighbours, parts, file):
    scheduled = file.replace(
        "cooldown: 12h", 'cooldown: 1h\n    on: [schedule]\n    schedule: "0 3 * * *"'
    )
    async with running(*parts()):
        await neighbours.apply(scheduled)
        await neighbours.rows(0, 60)  # until the third day, 12:00
        await neighbours.hears("TrainingCompleted")
        await neighbours.rows(60, 76)
        (_, _, (due, _)) = await neighbours.hears("RetrainSkipped", 3)
        (_, (requested, _)) = await neighbours.hears("RetrainRequested", 2)

    assert (due.trigger, due.reason) == ("schedule", "too_few_labels")
    assert requested.trigger == "schedule"


async def test_a_person_who_asks_is_obeyed_within_reason(neighbours, parts, service):
    async with running(*parts()):
        await neighbours.apply()
        await neighbours.rows(0, 10)
        await eventually(lambda: status_of(service) and status_of(service).labelled_rows == 10)
        await neighbours.retrain()
        [(few, _)] = await neighbours.hears("RetrainSkipped")
        await neighbours.rows(10, 30)
        await eventually(lambda: status_of(service).labelled_rows == 30)
        await neighbours.command(commands_pb2.PausePipeline(pipeline="bikes", paused=True))
        await neighbours.retrain()
        (_, (paused, _)) = await neighbours.hears("RetrainSkipped", 2)
        await neighbours.command(commands_pb2.PausePipeline(pipeline="bikes", paused=False))
        command = await neighbours.retrain()
        [(completed, _)] = await neighbours.hears("TrainingCompleted")

    assert (few.reason, paused.reason) == ("too_few_labels", "paused")
    assert few.detail == "ada asked for it: to see; 10 labelled rows are there and 20 are needed"
    assert (completed.trigger, completed.cause_id) == ("command", command)


async def test_a_command_for_a_pipeline_that_nobody_knows_holds_up_nothing(neighbours, parts):
    async with running(*parts()):
        await neighbours.retrain("biks")
        [(skipped, _)] = await neighbours.hears("RetrainSkipped")

    assert (skipped.pipeline, skipped.reason) == ("biks", "too_few_labels")
    assert "check the name" in skipped.detail


async def test_vectors_that_come_before_their_pipeline_wait_for_it(neighbours, parts, service):
    async with running(*parts()):
        await neighbours.rows(0, 5)
        await asyncio.sleep(0.1)
        await neighbours.apply()
        await eventually(lambda: status_of(service) and status_of(service).labelled_rows == 5)


async def test_a_run_that_cannot_learn_says_why_and_is_not_tried_again_at_once(
    neighbours, parts, file
):
    binary = file.replace("kind: regression", "kind: binary").replace("[linear]", "[logistic]")
    async with running(*parts()):
        await neighbours.apply(binary)
        for number in range(62):
            await neighbours.vector(number)
            await neighbours.label(number, 1.0)
        [(failed, _)] = await neighbours.hears("TrainingFailed")

    assert "wait for another one" in failed.reason
    assert neighbours.names().count("RetrainRequested") == 1


async def test_performance_that_fell_leads_to_a_run(neighbours, parts):
    async with running(*parts()):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        [(first, _)] = await neighbours.hears("TrainingCompleted")
        await neighbours.promote(first)
        degraded = drift_pb2.PerformanceDegraded(
            pipeline="bikes", metric="mae", value=9, bound=5, reference=4, window_events=50
        )
        await neighbours.send(degraded, Instant(BEGINNING + 90 * HOUR))
        (_, (second, _)) = await neighbours.hears("RetrainRequested", 2)

    assert second.trigger == "performance"


async def test_a_run_cut_off_in_the_middle_is_run_again_and_ends_the_same(
    neighbours, parts, service
):
    async with running(*parts()):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        await neighbours.hears("TrainingStarted")
    assert "TrainingCompleted" not in neighbours.names()
    [open_run] = SqlRuns(service.database).open()

    async with running(*parts()):
        await neighbours.rows(60, 65)
        [(completed, _)] = await neighbours.hears("TrainingCompleted")

    assert completed.run_id == open_run.run.run_id
    assert completed.train_rows + completed.holdout_rows == 60
    assert neighbours.names().count("TrainingStarted") == 1
    assert SqlRuns(service.database).open() == []


def status_of(service):
    return service.overview.status("bikes")
