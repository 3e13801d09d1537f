"""A cluster while a fit uses it: connected, agreed with, metered.

Whoever controls a scheduler controls what its clients unpickle, so only a fit's child ever connects, and only to a scheduler
that the settings name; with tls:// both sides show certificates.
"""

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field

from distributed import Client, Security
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from millrace_kernel.errors import PermanentError
from millrace_training.adapters.fitting.cluster.agreement import usage, what_runs
from millrace_training.adapters.fitting.cluster_plan import Scheduler
from millrace_training.adapters.processes.metering import Usage, count_elsewhere

_MEBIBYTE = 1 << 20
FEWER = "learn from fewer rows (model.train_on.last)"

logger = logging.getLogger(__name__)


class ClusterError(PermanentError):
    """The cluster cannot do this. The text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Worker:
    name: str
    address: str
    threads: int
    memory_bytes: int  # its limit; 0: none

    @property
    def described(self) -> str:
        limit = f" of {self.memory_bytes // _MEBIBYTE:,} MiB" if self.memory_bytes else ""
        return f"{self.name}{limit}"


@dataclass(slots=True)
class Cluster:
    """Connected. `workers` are those at the moment, by name."""

    scheduler: Scheduler
    client: Client
    _began: dict[tuple[str, int], float] = field(default_factory=dict)
    _last: dict[tuple[str, int], Usage] = field(default_factory=dict)

    def workers(self) -> tuple[Worker, ...]:
        told = self.client.scheduler_info(n_workers=-1)["workers"]
        found = [
            Worker(str(each["name"]), address, each["nthreads"], each["memory_limit"] or 0)
            for address, each in told.items()
        ]
        return tuple(sorted(found, key=lambda each: (each.name, each.address)))

    def wait_for(self, workers: int, seconds: float) -> tuple[Worker, ...]:
        """Raises ClusterError when there are fewer by then."""
        try:
            self.client.wait_for_workers(workers, timeout=seconds)
        except TimeoutError:
            raise ClusterError(
                f"the cluster {self.scheduler.name} ({self.scheduler.address}) has {len(self.workers())} workers after "
                f"{seconds:g} s, and {workers} are needed; start workers (dask worker {self.scheduler.address})"
            ) from None
        return self.workers()

    def agree(self) -> None:
        """Raises ClusterError when another version of anything runs there: a task would fail in words that nobody understands, or not at all."""
        ours = what_runs()
        where = f"the cluster {self.scheduler.name} ({self.scheduler.address})"
        try:
            told = {"its scheduler": self.client.run_on_scheduler(what_runs)}
            told |= {f"worker {at}": each for at, each in self.client.run(what_runs).items()}
        except ModuleNotFoundError as error:
            raise ClusterError(
                f"{where} lacks what training runs ({error}); start its scheduler and its workers from Millrace's own image"
            ) from error
        for who, theirs in told.items():
            apart = [
                f"{name} {theirs.get(name, 'none')} there and {version} here"
                for name, version in ours.items()
                if theirs.get(name) != version
            ]
            if apart:
                raise ClusterError(
                    f"{where} runs other versions than training: {who} has {'; '.join(apart)}; start its scheduler and "
                    "its workers from the image that training runs from"
                )

    @property
    def is_gone(self) -> bool:
        """Whether the scheduler's connection is lost: whatever waits for it now would wait in vain."""
        comm = self.client.scheduler_comm
        return self.client.status != "running" or comm is None or comm.closed()

    def meter(self) -> None:
        """Look at what the workers have used. What the first look found is not ours; a worker that came later is all ours."""
        if self.is_gone:
            return
        first = not self._last
        with contextlib.suppress(OSError):
            for address, (process, used) in self.client.run(usage, on_error="ignore").items():
                self._began.setdefault((address, process), used.cpu_seconds if first else 0.0)
                self._last[address, process] = used

    def spent(self) -> float:
        """Seconds of processor time by all workers since the first look, also by those that were lost, up to the last."""
        return sum(used.cpu_seconds - self._began[key] for key, used in self._last.items())


@contextmanager
def connected(scheduler: Scheduler, seconds: float) -> Iterator[Cluster]:
    """Connected and agreed with, within so many seconds. What the workers use meanwhile counts as this process's.

    Raises ClusterError.
    """
    try:
        client = Client(
            scheduler.address,
            timeout=seconds,
            security=_security(scheduler),
            set_as_default=True,  # xgboost.dask asks for the default one, even when it is given one
            name="millrace-training",
        )
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"the cluster {scheduler.name} can't be reached at {scheduler.address} ({error}); start its scheduler, or "
            "correct TRAINING_CLUSTERS or the file's training.cluster"
        ) from error
    cluster = Cluster(scheduler, client)
    try:
        cluster.wait_for(1, seconds)
        cluster.agree()
        cluster.meter()
        yield cluster
    except KilledWorker as error:
        raise ClusterError(
            f"workers of the cluster {scheduler.name} died again and again over the same task ({error}); if they ran out "
            f"of memory, give them more, start more of them or {FEWER}"
        ) from error
    except PermanentError:
        raise
    except Exception as error:
        if not (cluster.is_gone or isinstance(error, CancelledError | CommClosedError)):
            raise
        raise ClusterError(
            f"the cluster {scheduler.name} ({scheduler.address}) went away in mid-run ({error}); start its scheduler again, "
            "then train again"
        ) from error
    finally:
        cluster.meter()
        count_elsewhere(cluster.spent())
        with contextlib.suppress(OSError):  # of a scheduler that does not answer any more
            client.close()


def _security(scheduler: Scheduler) -> Security | None:
    if not scheduler.address.startswith("tls://"):
        return None
    return Security(
        require_encryption=True,
        tls_ca_file=scheduler.ca_file,
        tls_client_cert=scheduler.certificate_file,
        tls_client_key=scheduler.key_file,
    )
