"""What was asked of each version, and how long it took: the protocol's statistics extension."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from millrace_kernel.time import EARLIEST, Clock, Instant

Nanoseconds = Callable[[], int]  # of a clock that never goes back

VERSIONS_KEPT = 4  # of each model: more than are ever loaded at once
BATCH_SIZES_KEPT = 64  # of each version; further sizes count in the sums only


@dataclass(slots=True)
class Span:
    """How often something was done, and how long it took in all: nanoseconds."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns


@dataclass(slots=True)
class Computation:
    """The three parts of an execution."""

    input: Span = field(default_factory=Span)  # tensors to rows
    infer: Span = field(default_factory=Span)  # rows to scores
    output: Span = field(default_factory=Span)  # scores to tensors

    def add(self, input_ns: int, infer_ns: int, output_ns: int) -> None:
        self.input.add(input_ns)
        self.infer.add(infer_ns)
        self.output.add(output_ns)


@dataclass(slots=True)
class Tally:
    """One version's figures. May be written by several threads at once."""

    clock: Clock
    last_inference: Instant = EARLIEST
    inferences: int = 0  # rows
    executions: int = 0
    success: Span = field(default_factory=Span)
    fail: Span = field(default_factory=Span)
    queue: Span = field(default_factory=Span)
    compute: Computation = field(default_factory=Computation)
    batches: dict[int, Computation] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def answered(
        self, rows: int, input_ns: int, infer_ns: int, output_ns: int, queue_ns: int = 0
    ) -> None:
        """A request was answered, in one execution of its own."""
        with self._lock:
            self.inferences += rows
            self.executions += 1
            self.last_inference = self.clock.now()
            self.queue.add(queue_ns)
            self.success.add(queue_ns + input_ns + infer_ns + output_ns)
            self.compute.add(input_ns, infer_ns, output_ns)
            batch = self.batches.get(rows)
            if batch is None:
                if len(self.batches) >= BATCH_SIZES_KEPT:
                    return
                batch = self.batches[rows] = Computation()
            batch.add(input_ns, infer_ns, output_ns)

    def refused(self, ns: int) -> None:
        """A request got no answer after so long."""
        with self._lock:
            self.last_inference = self.clock.now()
            self.fail.add(ns)


class Statistics:
    """The tallies of this instance, since it started; of each model the versions that were asked last."""

    def __init__(self, clock: Clock, nanoseconds: Nanoseconds) -> None:
        self.nanoseconds = nanoseconds
        self._clock = clock
        self._tallies: dict[str, dict[str, Tally]] = {}
        self._lock = Lock()

    def tally(self, model: str, version: str) -> Tally:
        """To write into: made when it isn't there. Only for models that exist: names are never forgotten."""
        versions = self._tallies.get(model)
        found = versions.get(version) if versions else None
        return found or self._made(model, version)

    def read(self, model: str, version: str) -> Tally:
        """To read from: an empty one when it was never asked."""
        found = self._tallies.get(model, {}).get(version)
        return found or Tally(self._clock)

    def _made(self, model: str, version: str) -> Tally:
        with self._lock:
            versions = self._tallies.setdefault(model, {})
            tally = versions.setdefault(version, Tally(self._clock))
            for oldest in list(versions)[:-VERSIONS_KEPT]:
                del versions[oldest]
            return tally
