"""Training on a real Dask cluster: two workers, each a process of its own."""

import dataclasses
import io
import json
import logging
import os
import signal
from dataclasses import replace

import dask
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.scorer import load_measured
from millrace_artifacts.store import ObjectStore, digest_key
from millrace_kernel.pipeline import LabelKind, Trigger
from millrace_training.adapters.fitting.cluster import agreement, fits
from millrace_training.adapters.fitting.cluster.connecting import ClusterError, connected
from millrace_training.adapters.fitting.cluster_plan import ClusterPlan, Part, Scheduler
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, Winner
from millrace_training.adapters.fitting.options import Options
from millrace_training.adapters.fitting.reading.rows import read_rows, split_rows
from millrace_training.adapters.lake.gathering import GatherJob, gather, read_manifest
from millrace_training.adapters.sql.staging import SqlStaging, Tally
from millrace_training.domain.events import Run

pytestmark = pytest.mark.timeout(300)
HOUR_US = 3_600_000_000
ROWS, HOLDOUT, PART_ROWS = 2_400, 400, 450
COLUMNS = ("few", "fewer", "gaps")
TREES = {
    "rounds": 40,
    "max_depth": 5,
    "learning_rate": 0.1,
    "min_child_weight": 3.0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "reg_lambda": 1.0,
}
KINDS = (LabelKind.REGRESSION, LabelKind.BINARY, LabelKind.MULTICLASS)
PLAIN = Winner("xgboost", json.dumps(TREES))
FADING = replace(PLAIN, learnt_share=0.7, half_life_share=0.3, without=("fewer",))


@pytest.fixture(scope="module")
def cluster():
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def scheduler(cluster) -> Scheduler:
    cluster.wait_for_workers(2)
    return Scheduler("main", cluster.scheduler_address)


def the_table(kind: LabelKind) -> pa.Table:
    """Numbers of so few values that a cut between each two of them is tried, however the rows are dealt."""
    random = np.random.default_rng(7)
    numbers = random.integers(0, 40, (ROWS, 3)).astype(np.float64)
    numbers[random.random(ROWS) < 0.1, 2] = np.nan
    weather = random.choice(
        ["clear", "fog", "rain", "", "hail"], ROWS, p=[0.4, 0.3, 0.2, 0.09, 0.01]
    )
    hired = numbers[:, 0] + 9 * (weather == "clear") - np.nan_to_num(numbers[:, 2], nan=20.0) / 2
    hired += random.normal(0, 3, ROWS)
    labels = {
        LabelKind.REGRESSION: hired,
        LabelKind.BINARY: (hired > 25) * 1.0,
        LabelKind.MULTICLASS: np.array(["few", "some", "many"])[np.digitize(hired, [5.0, 22.0])],
    }
    return pa.table(
        {
            "event_id": [f"e{number:05d}" for number in range(ROWS)],
            "event_time_us": pa.array(np.arange(ROWS) * HOUR_US),
            "numbers": pa.array(numbers.tolist()),
            "categories": pa.array([[each] for each in weather]),
            "label": pa.array(labels[kind].tolist()),
        }
    )


def stored_parts(table: pa.Table, store: ObjectStore) -> tuple[Part, ...]:
    parts = []
    for start in range(0, table.num_rows, PART_ROWS):
        some = table.slice(start, PART_ROWS)
        sink = io.BytesIO()
        pq.write_table(some, sink)
        content = sink.getvalue()
        stored = store.put(digest_key("datasets/bikes", content, ".parquet"), content)
        times = some.column("event_time_us").to_pylist()
        parts.append(Part(stored.uri, stored.sha256, some.num_rows, times[0], times[-1]))
    return tuple(parts)


@pytest.fixture
def a_job(tmp_path, store, scheduler):
    """A fit of some rows, here, and the same on the cluster."""

    def a_job(kind=LabelKind.REGRESSION, **changes) -> tuple[FitJob, FitJob]:
        table = the_table(kind)
        path = tmp_path / f"{kind}.parquet"
        pq.write_table(table, path)
        given = {"winner": PLAIN} | changes
        here = FitJob(
            "bikes", 3, kind, COLUMNS, ("weather",), ("xgboost",), path, ROWS, HOLDOUT, **given
        )
        plan = ClusterPlan(scheduler, store.url, stored_parts(table, store), workers=2)
        return here, replace(here, cluster=plan)

    return a_job


def answers(job: FitJob, artifact: bytes) -> np.ndarray:
    holdout = split_rows(read_rows(job), job).holdout
    scores = load_measured(read_artifact(artifact)).score(
        holdout.numbers, holdout.categories.tolist()
    )
    return scores.values if scores.probabilities is None else scores.probabilities


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("winner", [PLAIN, FADING], ids=["plain", "fading"])
def test_a_cluster_learns_what_one_machine_learns_and_the_same_again(a_job, kind, winner):
    """Weights, classes that weigh the same, what is missing, what is left out and the codes of categories included."""
    balanced = Options(balance=kind is not LabelKind.REGRESSION)
    here, there = a_job(kind, winner=winner, options=balanced)
    local, result = fit_candidates(here), fit_candidates(there)
    one, other = (answers(here, each.artifact) for each in (local, result))

    assert (
        read_artifact(result.artifact).model.signature
        == read_artifact(local.artifact).model.signature
    )
    assert np.abs(one - other).max() < 1e-3 * np.std(one)
    assert result.metrics == pytest.approx(local.metrics, rel=1e-3, abs=1e-4)
    assert (result.train_rows, result.learnt_rows, result.holdout_rows) == (
        local.train_rows,
        local.learnt_rows,
        local.holdout_rows,
    )
    assert result.cluster.workers == ("0", "1")
    assert "learnt on the cluster main by 2 workers" in result.notes
    assert fit_candidates(there).artifact == result.artifact


def test_the_gap_before_the_holdout_and_what_is_not_to_be_learnt_hold_on_a_cluster_too(a_job):
    """Labels are known after 200 hours, and models are given neither a number nor the category."""
    here, there = a_job(label_delay_us=200 * HOUR_US, unlearnt=("fewer", "weather"))
    local, result = fit_candidates(here), fit_candidates(there)
    signature = read_artifact(result.artifact).model.signature

    assert (signature.numbers, signature.categories) == (("few", "gaps"), ())
    assert signature == read_artifact(local.artifact).model.signature
    assert result.train_rows == local.train_rows == ROWS - HOLDOUT - 199
    assert result.learnt_rows == local.learnt_rows == ROWS
    assert result.metrics == pytest.approx(local.metrics, rel=1e-3, abs=1e-4)


def test_weights_and_balance_matter(a_job):
    """Else the test above would prove nothing of them."""
    _, there = a_job(LabelKind.BINARY)
    plain = fit_candidates(there)
    fading = fit_candidates(replace(there, winner=replace(PLAIN, half_life_share=0.3)))
    balanced = fit_candidates(replace(there, options=Options(balance=True)))

    assert len({each.artifact for each in (plain, fading, balanced)}) == 3


class TestADatasetInParts:
    @pytest.fixture
    def filled(self, settler, database, world, pipeline):
        """Vectors twice, labels corrected, retracted and never given; in several files of the lake."""

        def filled(first: int, last: int) -> None:
            with database.transaction() as connection:
                staging = SqlStaging(connection, Tally())
                for number in range(first, last):
                    staging.add_vector(world.vector(number))
                    if number % 11 == 0:
                        staging.add_vector(world.vector(number))
                    if number % 13:
                        staging.add_label(world.label(number))
                    if number % 17 == 0:
                        staging.add_label(world.label(number, -1.0, after=5))
                    if number % 19 == 0:
                        staging.add_label(world.retraction(number, after=9))
                staging.flush()
            settler.settle(pipeline.name)

        return filled

    def gathering(self, scheduler, tmp_path, store, lake, pipeline, **changes) -> GatherJob:
        at = lake.versions(pipeline.name)
        given = {
            "as_of_us": 2**60,
            "most": 260,
            "holdout": 30,
            "part_rows": 40,
            "sample_rows": 100,
        } | changes
        return GatherJob(
            scheduler=scheduler,
            wait_seconds=30.0,
            lake=f"file://{tmp_path / 'lake'}",
            store=store.url,
            pipeline=pipeline.name,
            label_kind=pipeline.label.kind,
            versions=(1,),
            vectors_version=at.vectors,
            labels_version=at.labels,
            **given,
        )

    def test_the_rows_are_those_that_one_machine_takes(
        self, filled, scheduler, tmp_path, store, lake, taker, pipeline, world
    ):
        for first in (0, 150, 300):
            filled(first, first + 150)
        as_of = world.hour(420)
        job = self.gathering(scheduler, tmp_path, store, lake, pipeline, as_of_us=as_of)

        found = gather(job)

        run = Run(pipeline.name, "r", 1, 1, Trigger.FIRST, "c", as_of)
        model = dataclasses.replace(pipeline.model, train_on_last=230, holdout_last=30)
        dataset, content = taker.take(
            run, dataclasses.replace(pipeline, model=model), frozenset({1})
        )
        manifest = read_manifest(store.get(found.uri, found.sha256))
        parts = [store.get(part.uri, part.sha256) for part in manifest.parts]
        tables = [pq.read_table(io.BytesIO(part)) for part in parts]
        assert (
            pa.concat_tables(tables).to_pylist() == pq.read_table(io.BytesIO(content)).to_pylist()
        )
        assert [part.rows for part in manifest.parts] == [table.num_rows for table in tables]
        assert found.rows == dataset.rows == 260
        assert (found.first_event_time_us, found.last_event_time_us) == (
            dataset.first_event_time,
            dataset.last_event_time,
        )
        assert len(tables) > 4
        assert max(table.num_rows for table in tables) < 80
        assert gather(job) == found, "taken again, it is the same"

    def test_the_trainer_sees_the_holdout_and_one_row_in_so_many(
        self, filled, scheduler, tmp_path, store, lake, taker, pipeline
    ):
        filled(0, 300)
        job = self.gathering(scheduler, tmp_path, store, lake, pipeline, sample_rows=60, holdout=15)

        found = gather(job)

        manifest = read_manifest(store.get(found.uri, found.sha256))
        every = [
            event
            for part in manifest.parts
            for event in pq.read_table(io.BytesIO(store.get(part.uri, part.sha256)))[
                "event_id"
            ].to_pylist()
        ]
        seen = pq.read_table(io.BytesIO(store.get(manifest.seen.uri, manifest.seen.sha256)))
        ids = seen["event_id"].to_pylist()
        assert ids[-15:] == every[-15:]
        assert (
            ids[:-15] == every[:-15][::-1][::4][::-1] or ids[:-15] == every[:-15][::-1][::5][::-1]
        )
        assert 45 <= len(ids) - 15 <= 60

    def test_a_pipeline_without_labels_has_no_rows(
        self, scheduler, tmp_path, store, lake, pipeline
    ):
        assert gather(self.gathering(scheduler, tmp_path, store, lake, pipeline)).rows == 0


class TestWhatGoesWrong:
    def test_a_worker_that_is_killed_is_done_without(self, a_job, cluster, monkeypatch):
        _, there = a_job()
        killed = []
        once = fits.OnCluster._once

        def kills_first(on_cluster, growing, recipe, workers):
            if not killed:
                processes = on_cluster.cluster.client.run(os.getpid)
                killed.append(processes[workers[0].address])
                grown = fits.grown

                def grown_without(*given, **named):
                    os.kill(killed[0], signal.SIGKILL)
                    return grown(*given, **named)

                with monkeypatch.context() as patched:
                    patched.setattr(fits, "grown", grown_without)
                    return once(on_cluster, growing, recipe, workers)
            return once(on_cluster, growing, recipe, workers)

        monkeypatch.setattr(fits.OnCluster, "_once", kills_first)
        result = fit_candidates(there)

        assert len(killed) == 1
        assert result.cluster.lost >= 1
        assert result.metrics["mae"] < result.baseline_metrics["mae"] / 2
        cluster.wait_for_workers(2)

    def test_no_scheduler_is_said_in_words(self, a_job):
        _, there = a_job()
        nobody = replace(there.cluster.scheduler, address="tcp://127.0.0.1:1")
        plan = replace(there.cluster, scheduler=nobody, wait_seconds=0.5)

        with pytest.raises(ClusterError, match=r"main can't be reached at tcp://127\.0\.0\.1:1"):
            fit_candidates(replace(there, cluster=plan))

    def test_too_few_workers_are_said_in_words(self, a_job):
        _, there = a_job()
        plan = replace(there.cluster, workers=3, wait_seconds=0.5)

        with pytest.raises(ClusterError, match=r"has 2 workers after 0\.5 s, and 3 are needed"):
            fit_candidates(replace(there, cluster=plan))

    def test_another_version_is_said_in_words(self, scheduler, monkeypatch):
        there = agreement.what_runs()
        monkeypatch.setattr(agreement, "_version", lambda *names: "0.1")

        with (
            pytest.raises(
                ClusterError, match=rf"worker \S+ has .*numpy {there['numpy']} there and 0\.1 here"
            ),
            connected(scheduler, 30.0),
        ):
            pass

    def test_training_that_nobody_waits_for_ends_by_itself(self, a_job):
        _, there = a_job()

        with pytest.raises(TimeoutError, match="training took longer than 0 s"):
            fit_candidates(replace(there, cluster=replace(there.cluster, seconds=0.0)))
