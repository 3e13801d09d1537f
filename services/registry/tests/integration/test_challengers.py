"""Trials among the registry's topics: what monitoring and serving say, in; what becomes of a challenger, out."""

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from millrace_bus.sql import Database
from millrace_contracts.pipeline_file import pipeline_to_yaml
from millrace_proto.v1.deployments_pb2 import DeploymentFailed
from millrace_proto.v1.drift_pb2 import (
    CHALLENGER_VERDICT_BETTER,
    CHALLENGER_VERDICT_WORSE,
    ChallengerCompared,
)
from millrace_registry.bootstrap import MIGRATIONS


def kinds(messages):
    return [type(message).__name__ for message in messages]


def compared(verdict, *, trial=1, step=0, events=500, **changes):
    given = {
        "pipeline": "bikes", "champion_version": 1, "challenger_version": 2, "metric": "mae", "events": events,
        "step_events": events, "trial": trial, "step": step, "epoch": 1, "loss": "absolute", "difference": 8.0,
        "lower": 3.0, "upper": 13.0, "confidence": 0.99, "verdict": verdict,
    }  # fmt: skip
    return ChallengerCompared(**{**given, **changes})


@pytest.fixture
async def canary(registry, file, completed):
    """Version 1 answers, version 2 gets its first share."""
    assert (await registry.apply(pipeline_to_yaml(file(strategy="canary")))).status_code == 201
    registry.say(completed(1))
    registry.say(completed(2))
    await registry.settled()
    return registry


async def test_a_challenger_is_told_with_all_that_serving_and_monitoring_need(canary, completed):
    started = canary.heard()[-1]

    assert kinds(canary.heard())[-2:] == ["ModelRegistered", "ChallengerStarted"]
    assert (started.version, started.champion_version, started.epoch) == (2, 1, 1)
    assert (started.trial, started.step, started.traffic_share) == (1, 0, 0.01)
    assert started.since_us == started.started_us > 0
    assert started.learnt_until_us == completed(2).as_of_us
    assert (started.artifact_uri, started.run_id) == ("file:///objects/2", "run-2")
    assert (started.artifact_signature, started.signing_key_id) == (
        completed(2).artifact_signature,
        completed(2).signing_key_id,
    )


async def test_the_steps_of_a_canary_are_events_and_shown(canary):
    shown = [(await canary.get("/bikes"))["pipeline"]["challenger"]]
    for step in (0, 1):
        canary.say(compared(CHALLENGER_VERDICT_BETTER, step=step))
        await canary.settled()
        shown.append((await canary.get("/bikes"))["pipeline"]["challenger"])
    model = await canary.get("/bikes/models/2")
    canary.say(compared(CHALLENGER_VERDICT_BETTER, step=2))
    await canary.settled()

    assert [(one["version"], one["step"], one["share"]) for one in shown] == [
        (2, 0, 1.0), (2, 1, 5.0), (2, 2, 25.0),
    ]  # fmt: skip
    assert model["model"]["stage"] == "challenger"
    assert model["model"]["reason"].startswith(
        "answers 25 % of the entities: better than version 1"
    )
    assert kinds(canary.heard())[-4:] == ["ChallengerStarted"] * 3 + ["ModelPromoted"]
    assert (await canary.get("/bikes"))["pipeline"]["challenger"] is None
    promotion = (await canary.get("/bikes/promotions"))[0]
    assert (promotion["version"], promotion["actor"]) == (2, None)
    assert "better than version 1 on 500 labelled events" in promotion["reason"]


@pytest.mark.parametrize(
    "breach",
    [
        compared(CHALLENGER_VERDICT_WORSE, events=7, difference=-9.0),
        DeploymentFailed(
            pipeline="bikes", version=2, epoch=1, instance="serving-0", reason="boom", trial=1
        ),
    ],
    ids=["worse", "failed"],
)
async def test_a_breach_ends_the_trial_whoever_says_it(canary, breach):
    canary.say(breach)
    canary.say(compared(CHALLENGER_VERDICT_BETTER))
    await canary.settled()

    assert kinds(canary.heard())[-2:] == ["ChallengerStarted", "ModelRejected"]
    assert canary.heard()[-1].version == 2
    assert (await canary.get("/bikes"))["pipeline"]["champion"] == 1
    assert (await canary.get("/bikes/models/2"))["model"]["stage"] == "rejected"


async def test_the_same_word_twice_is_one_step(canary):
    canary.say(compared(CHALLENGER_VERDICT_BETTER))
    canary.say(compared(CHALLENGER_VERDICT_BETTER), again=True)
    canary.say(compared(CHALLENGER_VERDICT_BETTER, step=0))
    await canary.settled()

    assert kinds(canary.heard())[-2:] == ["ChallengerStarted"] * 2
    assert canary.heard()[-1].step == 1


async def test_what_was_kept_before_there_were_trials_is_kept(database_url):
    """SQLite makes the table of versions anew, which promotions point at."""
    database = Database(database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")

    def go(step, to):
        with database.engine.begin() as connection:
            config.attributes["connection"] = connection
            step(config, to)

    go(command.upgrade, "0002")
    with database.transaction() as connection:
        for statement in _OLD:
            connection.execute(text(statement))
    go(command.upgrade, "head")
    with database.transaction() as connection:
        connection.execute(text("UPDATE model_versions SET stage = 'challenger' WHERE version = 2"))
    go(command.downgrade, "0002")
    go(command.upgrade, "head")

    with database.reading() as connection:
        stages = connection.execute(
            text("SELECT version, stage FROM model_versions ORDER BY version")
        ).all()
        promotions = connection.execute(text("SELECT epoch, version FROM promotions")).all()
        trials = connection.execute(text("SELECT trial, trials FROM pipelines")).all()
    assert [tuple(row) for row in stages] == [(1, "champion"), (2, "awaiting approval")]
    assert [tuple(row) for row in promotions] == [(1, 1)]
    assert [tuple(row) for row in trials] == [(None, 0)]
    database.close()


_VERSION = (
    "INSERT INTO model_versions (pipeline, version, stage, pipeline_version, run_id, run_number, trigger, cause_id, "
    "algorithm, parameters_json, artifact_uri, artifact_sha256, dataset_uri, dataset_sha256, train_rows, holdout_rows, "
    "metrics, champion_metrics, champion_version, better_probability, reference_profile, fit_seconds, cpu_seconds, as_of_us, "
    "message_id, registered_at_us, verdicts, reason, decided_by) VALUES ('bikes', {0}, '{1}', 1, 'run-{0}', {0}, 'first', "
    "'c', 'xgboost', '{{}}', 'u', 's', 'u', 's', 1, 1, '{{}}', '{{}}', 0, 0.5, '', 1, 1, 1, 'm', 1, '[]', '', 'm-{0}')"
)
_OLD = [
    "INSERT INTO pipelines (name, version, digest, epoch, line, paused) VALUES ('bikes', 1, 'd', 1, '[1]', false)",
    _VERSION.format(1, "champion"),
    _VERSION.format(2, "awaiting approval"),
    "INSERT INTO promotions (pipeline, epoch, kind, version, previous_version, actor, reason, cause_id, at_us) "
    "VALUES ('bikes', 1, 'promoted', 1, 0, NULL, '', 'm-1', 1)",
]
