"""A pipeline that names a cluster, through the whole service."""

import json
import logging
from dataclasses import replace

import msgspec
import pytest
from distributed import LocalCluster

from millrace_artifacts.store import ObjectStore
from millrace_kernel.ids import PipelineName, RunId
from millrace_testkit.eventually import eventually, running
from millrace_training.adapters.cards.job import Card
from millrace_training.adapters.running.reproducing import Reproduction
from millrace_training.bootstrap import reproduction, training

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def scheduler() -> str:
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    ) as cluster:
        cluster.wait_for_workers(2)
        yield cluster.scheduler_address


@pytest.fixture
def database_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'training.db'}"


@pytest.fixture
def on_cluster(file) -> str:
    named = file.replace("candidates: [linear]", "candidates: [xgboost]")
    return f"{named}  training: {{cluster: main}}\n"


@pytest.fixture
def service(settings, neighbours, children, scheduler):
    allowed = settings.model_copy(
        update={
            "training_clusters": {"main": scheduler},
            "training_cluster_workers": 2,
            "training_cluster_part_rows": 40,
        }
    )
    made = training(allowed, neighbours.broker, chance=lambda: 0.5, children=children)
    yield made
    made.database.close()


async def ended(neighbours, wanted="TrainingCompleted"):
    """What the run ends with: its processes import for seconds before they begin."""

    def outcomes() -> list:
        return [
            (name, message)
            for name, message, _ in neighbours.said()
            if name in ("TrainingCompleted", "TrainingFailed")
        ]

    await eventually(outcomes, within=200, what="the end of a run")
    [(name, outcome)] = outcomes()
    assert name == wanted, outcome
    return outcome


async def test_a_run_on_a_cluster_ends_in_a_candidate_that_is_made_again_to_the_bit(
    service, neighbours, on_cluster, quick
):
    async with running(*service.components(quick)):
        await neighbours.apply(on_cluster)
        await neighbours.rows(0, 120)
        completed = await ended(neighbours)
        [(made, _)] = await neighbours.hears("ModelCardMade")

    assert completed.algorithm == "xgboost"
    assert completed.dataset_uri.endswith(".json")
    assert completed.train_rows + completed.holdout_rows >= 60
    record = json.loads(completed.record_json)
    assert record["cluster"]["workers"] == ["0", "1"]
    store = ObjectStore(service.settings.objects)
    card = msgspec.json.decode(store.get(made.card_uri, made.card_sha256), type=Card)
    assert "learnt on the cluster main by 2 workers" in card.markdown
    assert completed.artifact_sha256 in card.markdown
    assert {each.name for each in card.facts.features} == {"temp", "hum", "weather"}
    again = reproduction(service.settings, PipelineName("bikes"), RunId(completed.run_id))
    assert isinstance(again, Reproduction)
    assert again.equal, again.first_difference
    assert "learnt again on the cluster main by 2 workers as then" in again.dataset


async def test_a_cluster_that_the_settings_do_not_name_is_not_connected_to(
    service, neighbours, on_cluster, quick
):
    async with running(*service.components(quick)):
        await neighbours.apply(on_cluster.replace("main", '"tcp://10.9.8.7:8786"'))
        await neighbours.rows(0, 60)
        failed = await ended(neighbours, "TrainingFailed")

    assert "training.cluster names tcp://10.9.8.7:8786" in failed.reason
    assert "TRAINING_CLUSTERS has main" in failed.reason


async def test_a_cluster_may_be_named_by_its_address(
    service, neighbours, on_cluster, quick, scheduler
):
    async with running(*service.components(quick)):
        await neighbours.apply(on_cluster.replace("cluster: main", f'cluster: "{scheduler}"'))
        await neighbours.rows(0, 60)
        completed = await ended(neighbours)

    assert completed.artifact_uri


async def test_a_scheduler_that_is_away_fails_the_run_in_words(
    service, neighbours, on_cluster, quick
):
    away = {
        "training_clusters": {"main": "tcp://127.0.0.1:1"},
        "training_cluster_wait_seconds": 0.5,
    }
    gone = replace(service, settings=service.settings.model_copy(update=away))
    async with running(*gone.components(quick)):
        await neighbours.apply(on_cluster)
        await neighbours.rows(0, 60)
        failed = await ended(neighbours, "TrainingFailed")

    assert "the cluster main can't be reached at tcp://127.0.0.1:1" in failed.reason
