"""What is shown of pipelines, models and promotions, on either database."""

from millrace_proto.v1.commands_pb2 import ApprovePromotion


async def test_a_pipeline_is_shown_with_every_default(applied):
    (listed,) = await applied.get("")
    shown = await applied.get("/bikes")

    assert (listed["name"], listed["version"], listed["champion"], listed["epoch"]) == (
        "bikes",
        1,
        None,
        0,
    )
    assert shown["pipeline"] == listed
    assert shown["spec"]["spec"]["retraining"]["cooldown"] == "1h"
    assert [file["version"] for file in shown["files"]] == [1]


async def test_models_are_shown_with_metrics_verdicts_stage_and_run(applied, completed):
    applied.say(completed(1))
    applied.say(completed(2, metrics={"mae": 120.0, "r2": float("nan")}))
    await applied.settled()

    newest, oldest = await applied.get("/bikes/models")
    detail = await applied.get("/bikes/models/2")

    assert (newest["version"], newest["stage"], newest["run_id"]) == (2, "rejected", "run-2")
    assert newest["metrics"] == {"mae": 120.0, "r2": None}
    assert (oldest["version"], oldest["stage"]) == (1, "champion")
    assert detail["model"] == newest
    assert [verdict["passed"] for verdict in detail["verdicts"]] == [False, False]
    assert (detail["champion_version"], detail["champion_metrics"]) == (1, {"mae": 60.0})
    assert detail["parameters"] == {"max_depth": 3}
    assert [model["version"] for model in await applied.get("/bikes/models?before=2&limit=5")] == [
        1
    ]


async def test_promotions_are_shown_newest_first(applied, completed):
    applied.say(completed(1))
    applied.say(completed(2, metrics={"mae": 120.0}))
    await applied.settled()
    applied.say(ApprovePromotion(pipeline="bikes", version=2, actor="ada", reason="trust me"))
    await applied.settled()

    second, first = await applied.get("/bikes/promotions")
    assert (second["epoch"], second["kind"], second["version"], second["previous_version"]) == (
        2,
        "promoted",
        2,
        1,
    )
    assert (second["actor"], second["reason"]) == ("ada", "trust me")
    assert (first["epoch"], first["actor"], first["reason"]) == (1, None, "passed every gate")
    assert (await applied.get("/bikes"))["pipeline"]["champion"] == 2
