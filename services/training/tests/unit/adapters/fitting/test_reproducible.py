"""Every kind of model is the same to the bit when a fresh process makes it again."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting import procedure
from millrace_training.adapters.fitting.algorithms.estimators import ALGORITHMS
from millrace_training.adapters.fitting.environment import environment
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, FitResult, Winner
from millrace_training.adapters.running.reproducing import differences

HOUR_US = 3_600_000_000
ROWS = 160
EVERY = [
    (algorithm.name, kind)
    for algorithm in ALGORITHMS.values()
    for kind in sorted(algorithm.kinds - {LabelKind.TEXT}, key=lambda kind: kind.value)
]  # answers in words: test_words
FRESH = """
import hashlib, json, sys
from pathlib import Path
import msgspec
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, FitResult
for line in sys.stdin:
    job = msgspec.json.decode(line, type=FitJob, dec_hook=lambda kind, value: kind(value))
    result = fit_candidates(job)
    digest = hashlib.sha256(result.artifact).hexdigest()
    profile = hashlib.sha256(result.reference_profile).hexdigest()
    winner = json.loads(msgspec.json.encode(result.winner))
    print(json.dumps([digest, profile, winner]), flush=True)
"""


def the_rows(folder: Path, kind: LabelKind) -> Path:
    path = folder / f"{kind}.parquet"
    if path.exists():
        return path
    random = np.random.default_rng(11)
    numbers = random.normal(size=(ROWS, 2))
    numbers[random.random((ROWS, 2)) < 0.02] = np.nan
    weather = random.choice(["clear", "fog", "rain"], ROWS)
    hired = 10 * np.nan_to_num(numbers[:, 0]) + 3 * (weather == "clear") + random.normal(0, 1, ROWS)
    labels = {
        LabelKind.REGRESSION: hired,
        LabelKind.BINARY: (hired > 0) * 1.0,
        LabelKind.MULTICLASS: np.array(["few", "some", "many"])[np.digitize(hired, [-4.0, 4.0])],
    }
    table = {
        "event_id": [f"event-{number}" for number in range(ROWS)],
        "event_time_us": pa.array(np.arange(ROWS) * HOUR_US),
        "numbers": pa.array(numbers.tolist()),
        "categories": pa.array([[each] for each in weather]),
        "label": pa.array(labels[kind].tolist()),
    }
    pq.write_table(pa.table(table), path)
    return path


def a_job(folder: Path, algorithm: str, kind: LabelKind, **changes) -> FitJob:
    rows = the_rows(folder, kind)
    columns = (("temp", "hum"), ("weather",))
    return FitJob("bikes", 3, kind, *columns, (algorithm,), rows, 120, 30, **changes)


class Fresh:
    """Processes that have fitted nothing before: one for all kinds, and one for each that is asked for alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def digests(self, jobs: list[FitJob]) -> list[list[str]]:
        return [found[:2] for found in self.fitted(jobs)]

    def fitted(self, jobs: list[FitJob]) -> list[list]:
        """Digests of artifact and profile, and what was settled on."""
        lines = b"\n".join(msgspec.json.encode(job, enc_hook=str) for job in jobs)
        done = subprocess.run(
            [sys.executable, "-c", FRESH],
            input=lines,
            capture_output=True,
            check=False,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        assert done.returncode == 0, done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("reproducible")


@pytest.fixture(scope="module")
def elsewhere(folder):
    """What a fresh process makes of every kind, in another order than here."""
    backwards = EVERY[::-1]
    jobs = [a_job(folder, name, kind) for name, kind in backwards]
    return dict(zip(backwards, Fresh(folder).fitted(jobs), strict=True))


def digests_of(result: FitResult) -> list[str]:
    return [
        hashlib.sha256(content).hexdigest()
        for content in (result.artifact, result.reference_profile)
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_every_kind_of_model_is_equal_to_the_bit_in_a_fresh_process(elsewhere, folder, name, kind):
    *digests, settled = elsewhere[name, kind]
    winner = msgspec.convert(settled, Winner)
    again = fit_candidates(a_job(folder, name, kind, winner=winner))
    assert again.winner == winner
    assert digests_of(again) == digests


@pytest.mark.timeout(600)
def test_what_a_search_settled_on_is_made_again_without_the_search(folder):
    """Also by its timeout, by what it had learnt before, and with another share of the past."""
    job = a_job(folder, "linear", LabelKind.REGRESSION, trials=8, timeout_seconds=3_600.0)
    searched = fit_candidates(job)
    assert len(searched.trials) == 8
    settled = replace(searched.winner, learnt_share=0.5, without=("hum",))
    replayed = [
        a_job(folder, "linear", LabelKind.REGRESSION, winner=each)
        for each in (searched.winner, settled)
    ]
    again = [fit_candidates(each) for each in replayed]
    assert again[0].artifact == searched.artifact
    assert again[1].artifact != searched.artifact
    assert again[0].trials == ()
    assert Fresh(folder).digests(replayed) == [digests_of(each) for each in again]


@pytest.mark.timeout(600)
def test_an_update_is_equal_to_the_bit_in_a_fresh_process(folder, monkeypatch):
    base = fit_candidates(
        replace(a_job(folder, "xgboost", LabelKind.REGRESSION), dataset=older(folder))
    )
    job = a_job(folder, "xgboost", LabelKind.REGRESSION, champion=base.artifact, update=True)
    assert Fresh(folder).digests([job]) == [digests_of(fit_candidates(job))]


def older(folder: Path) -> Path:
    path = folder / "older.parquet"
    pq.write_table(pq.read_table(the_rows(folder, LabelKind.REGRESSION)).slice(0, 100), path)
    return path


def test_another_seed_makes_another_model(folder):
    """Else equal digests would prove nothing."""
    one, other = (
        fit_candidates(a_job(folder, "random_forest", LabelKind.REGRESSION, seed=seed))
        for seed in (0, 1)
    )
    assert digests_of(one)[0] != digests_of(other)[0]


def test_no_clock_decides_about_the_bytes_of_what_is_made_again(folder, monkeypatch):
    job = a_job(folder, "xgboost", LabelKind.REGRESSION)
    first = fit_candidates(job)
    monkeypatch.setattr(procedure, "NATIVE_ADVANTAGE", 0.0)
    assert fit_candidates(job).artifact != first.artifact
    assert fit_candidates(replace(job, winner=first.winner)).artifact == first.artifact


def test_the_environment_is_what_is_installed_and_the_code_as_it_is():
    found = environment()
    assert found.libraries["numpy"] == np.__version__
    assert found.python.endswith(sys.version.split()[0])
    assert len(found.code) == len(found.locked) == 64
    assert found == environment.__wrapped__()


def test_a_winner_survives_its_way_through_json():
    winner = Winner("linear", '{"alpha": 0.1}', 0.123456789012345, None, ("hum",), True)
    assert msgspec.json.decode(msgspec.json.encode(winner), type=Winner) == winner


@pytest.mark.parametrize(
    ("then", "now", "first"),
    [
        ({"a": 1, "files": {"x": "y"}}, {"a": 2, "files": {"x": "z"}}, ("a", 1, 2)),
        ({"files": {"x": "y"}, "z": [1, 2]}, {"files": {"x": "q"}, "z": [1, 3]}, ("z[1]", 2, 3)),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, ("a.c", None, 2)),
        ({"a": [1]}, {"a": [1, 2]}, ("a", [1], [1, 2])),
        ({"a": 1}, {"a": 1}, None),
    ],
)
def test_the_first_difference_is_the_first_part_that_says_something(then, now, first):
    found = next(differences(then, now), None)
    assert (found and (found.part, found.then, found.now)) == first
