"""A cluster of processes that are nobody's children, reached by TLS: who may come in, and what is said when its scheduler dies."""

import datetime
import io
import ipaddress
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from millrace_artifacts.store import ObjectStore, digest_key
from millrace_kernel.pipeline import LabelKind
from millrace_local.ports import free_port
from millrace_training.adapters.fitting.cluster import growing
from millrace_training.adapters.fitting.cluster.connecting import ClusterError
from millrace_training.adapters.fitting.cluster_plan import ClusterPlan, Part, Scheduler
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, Winner

pytestmark = pytest.mark.timeout(300)
ROWS, HOLDOUT, PART_ROWS = 600, 100, 150
TREES = {
    "rounds": 10,
    "max_depth": 3,
    "learning_rate": 0.3,
    "min_child_weight": 1.0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "reg_lambda": 1.0,
}


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key: PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    began = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(called, called, key.public_key(), x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + datetime.timedelta(days=36_500))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}-key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@dataclass(frozen=True)
class Apart:
    """A cluster as an operator starts it."""

    scheduler: Scheduler
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def apart(tmp_path_factory) -> Iterator[Apart]:
    folder = tmp_path_factory.mktemp("dask")
    signed, key = certificate(folder, "cluster")
    address = f"tls://127.0.0.1:{free_port()}"
    files = ["--tls-ca-file", signed, "--tls-cert", signed, "--tls-key", key]
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str, *arguments: object) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments, *files]
        with (folder / f"{program}.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    list(map(str, command)),
                    cwd=folder,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # noqa: TID251
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )

    start("scheduler", "--host", address, "--no-dashboard", "--no-show")
    start("worker", address, "--nthreads", 1, "--no-nanny", "--no-dashboard")
    try:
        yield Apart(Scheduler("main", address, str(signed), str(signed), str(key)), started[0])
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture
def job(tmp_path, store, apart) -> FitJob:
    random = np.random.default_rng(7)
    numbers = random.normal(size=(ROWS, 2))
    table = pa.table(
        {
            "event_id": [f"e{number:05d}" for number in range(ROWS)],
            "event_time_us": pa.array(np.arange(ROWS) * 1_000_000),
            "numbers": pa.array(numbers.tolist()),
            "categories": pa.array([[]] * ROWS, pa.list_(pa.string())),
            "label": pa.array(3 * numbers[:, 0]),
        }
    )
    path = tmp_path / "seen.parquet"
    pq.write_table(table, path)
    parts = tuple(a_part(store, table.slice(at, PART_ROWS)) for at in range(0, ROWS, PART_ROWS))
    plan = ClusterPlan(apart.scheduler, store.url, parts, workers=1, wait_seconds=60)
    return FitJob(
        "bikes", 3, LabelKind.REGRESSION, ("x", "z"), (), ("xgboost",), path, ROWS, HOLDOUT,
        winner=Winner("xgboost", json.dumps(TREES)), cluster=plan,
    )  # fmt: skip


def a_part(store: ObjectStore, table: pa.Table) -> Part:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    stored = store.put(digest_key("datasets/bikes", sink.getvalue(), ".parquet"), sink.getvalue())
    times = table.column("event_time_us").to_pylist()
    return Part(stored.uri, stored.sha256, table.num_rows, times[0], times[-1])


def test_a_cluster_is_reached_by_tls(job):
    result = fit_candidates(job)
    assert result.metrics["mae"] < result.baseline_metrics["mae"] / 2
    assert len(result.cluster.workers) == 1


def test_who_has_no_certificate_that_the_cluster_knows_is_turned_away_in_words(job, tmp_path):
    signed, key = certificate(tmp_path, "stranger")
    stranger = replace(
        job.cluster.scheduler,
        ca_file=job.cluster.scheduler.ca_file,
        certificate_file=str(signed),
        key_file=str(key),
    )
    plan = replace(job.cluster, scheduler=stranger, wait_seconds=1.0)
    with pytest.raises(ClusterError, match="the cluster main can't be reached at tls://") as raised:
        fit_candidates(replace(job, cluster=plan))
    assert "PRIVATE KEY" not in str(raised.value)


def test_a_scheduler_that_dies_while_trees_grow_fails_the_fit_in_words(
    job, apart, tmp_path, monkeypatch
):
    """The last test of the module: after it there is no cluster."""
    grows = tmp_path / "grows"

    class Tells(growing.StopsByItself):
        """From a worker, which gets it by value."""

        def before_training(self, model):
            grows.touch()
            return model

    def kill() -> None:
        while not grows.exists():
            time.sleep(0.01)
        apart.process.kill()

    monkeypatch.setattr(growing, "StopsByItself", Tells)
    endless = replace(job, winner=Winner("xgboost", json.dumps(TREES | {"rounds": 1_000_000})))
    plan = replace(job.cluster, wait_seconds=2.0, seconds=120.0)
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(ClusterError, match=r"main \(tls://.*\) went away in mid-run"):
        fit_candidates(replace(endless, cluster=plan))
    killer.join()
