"""Every metric that the libraries record, in one place: Prometheus names, base units, low cardinality."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BATCH_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SNAPSHOT_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class BusMetrics:
    """What the bus counts, in one registry per process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.consumed = Counter(
            "millrace_messages_consumed",
            "Messages handled and committed",
            ["topic"],
            registry=self.registry,
        )
        self.fenced = Counter(
            "millrace_messages_fenced",
            "Messages dropped because they had been seen",
            ["topic"],
            registry=self.registry,
        )
        self.produced = Counter(
            "millrace_messages_produced",
            "Messages acknowledged by the broker",
            ["topic"],
            registry=self.registry,
        )
        self.dead = Counter(
            "millrace_messages_dead_lettered",
            "Messages sent to the dead letters",
            ["topic"],
            registry=self.registry,
        )
        self.retries = Counter(
            "millrace_retries",
            "Batches put off by a passing failure",
            ["topic"],
            registry=self.registry,
        )
        self.outbox = Gauge(
            "millrace_outbox_messages", "Messages that wait for the relay", registry=self.registry
        )
        self.batch = Histogram(
            "millrace_batch_duration_seconds", "From a batch's arrival to its commit", ["topic"],
            registry=self.registry, buckets=_BATCH_SECONDS,
        )  # fmt: skip
        self.snapshots = Histogram(
            "millrace_snapshot_duration_seconds", "From a state's checkpoint to its manifest in the object store", ["topic"],
            registry=self.registry, buckets=_SNAPSHOT_SECONDS,
        )  # fmt: skip
        self.snapshot_bytes = Counter(
            "millrace_snapshot_sent_bytes",
            "What snapshots sent to the object store; files that are there already are not sent again",
            ["topic"],
            registry=self.registry,
        )
        self.snapshot_failures = Counter(
            "millrace_snapshot_failures",
            "Snapshots that failed and are tried again later",
            ["topic"],
            registry=self.registry,
        )
        self.snapshot_age = Gauge(
            "millrace_snapshot_age_seconds",
            "Since a partition's state was last copied to the object store, or came to this instance",
            ["topic", "partition"],
            registry=self.registry,
        )
