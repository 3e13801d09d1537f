"""The Faust application around the heart: its settings, and nothing that Faust would decide by itself."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import faust
from faust.types.auth import CredentialsT

from millrace_bus.kafka import FETCH_BYTES, MAX_BATCH_BYTES, MAX_REQUEST_BYTES, KafkaSettings

# No environment variable begins with it: Faust would read dozens, but only settings.py reads the environment.
_NO_ENVIRONMENT = "MILLRACE_NO_FAUST_SETTING_"
_HEARTBEATS_IN_A_SESSION = 4


@dataclass(frozen=True, slots=True)
class FaustSettings:
    """What the runtime needs to know. `group` is Faust's application id: consumer group and name of the changelog."""

    kafka: KafkaSettings
    directory: Path
    group: str
    standby_replicas: int = 1


def faust_application(settings: FaustSettings, partitions: int) -> faust.App:
    """An application that reads each partition in order. `partitions` is the input's number, and so the changelog's."""
    kafka = settings.kafka
    return faust.App(
        settings.group,
        broker=_servers(kafka),
        broker_client_id=kafka.client_id,
        broker_credentials=_credentials(kafka),
        broker_session_timeout=kafka.session_timeout_seconds,
        broker_heartbeat_interval=kafka.session_timeout_seconds / _HEARTBEATS_IN_A_SESSION,
        broker_request_timeout=max(
            kafka.request_timeout_seconds, 2 * kafka.session_timeout_seconds
        ),
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        producer_acks=-1,
        producer_compression_type=kafka.compression,
        producer_max_batch_size=MAX_BATCH_BYTES,
        producer_max_request_size=MAX_REQUEST_BYTES,
        producer_request_timeout=kafka.request_timeout_seconds,
        processing_guarantee="at_least_once",  # Faust's exactly_once swallows failed commits
        store="rocksdb://",
        datadir=settings.directory,
        table_standby_replicas=settings.standby_replicas,
        topic_partitions=partitions,
        topic_replication_factor=kafka.replication_factor,
        topic_disable_leader=True,
        stream_recovery_delay=0.0,
        stream_wait_empty=False,
        autodiscover=False,
        web_enabled=False,
        env_prefix=_NO_ENVIRONMENT,
    )


def _servers(kafka: KafkaSettings) -> str:
    servers = kafka.bootstrap_servers.split(",")
    return ";".join(f"kafka://{server.strip()}" for server in servers)


def _credentials(kafka: KafkaSettings) -> CredentialsT | None:
    """The bus's security arguments, which are aiokafka's, in Faust's words."""
    security = kafka.security
    context: ssl.SSLContext | None = security.get("ssl_context")
    if str(security.get("security_protocol", "")).startswith("SASL"):
        return faust.SASLCredentials(
            mechanism=security["sasl_mechanism"],
            username=security["sasl_plain_username"],
            password=security["sasl_plain_password"],
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)
