"""The Faust application around the heart: its settings, and nothing that Faust would decide by itself."""

from dataclasses import dataclass
from pathlib import Path

import faust

from millrace_bus.faust_connection import faust_connection
from millrace_bus.kafka import FETCH_BYTES, MAX_BATCH_BYTES, KafkaSettings


@dataclass(frozen=True, slots=True)
class FaustSettings:
    """What the runtime needs to know. `group` is Faust's application id: consumer group and name of the changelog."""

    kafka: KafkaSettings
    directory: Path
    group: str
    standby_replicas: int = 1


def faust_application(settings: FaustSettings, partitions: int) -> faust.App:
    """An application that reads each partition in order. `partitions` is the input's number, and so the changelog's."""
    return faust.App(
        settings.group,
        **faust_connection(settings.kafka),
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        producer_max_batch_size=MAX_BATCH_BYTES,
        producer_request_timeout=settings.kafka.request_timeout_seconds,
        processing_guarantee="at_least_once",  # Faust's exactly_once swallows failed commits
        datadir=settings.directory,
        table_standby_replicas=settings.standby_replicas,
        topic_partitions=partitions,
        stream_recovery_delay=0.0,
        stream_wait_empty=False,
    )
