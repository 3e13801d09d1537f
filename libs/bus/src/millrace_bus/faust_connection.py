"""How a Faust application reaches the brokers that the bus reaches: the same settings in Faust's words (the extra `faust`)."""

import ssl
from typing import Any

import faust
from faust.types.auth import CredentialsT

from millrace_bus.kafka import MAX_REQUEST_BYTES, KafkaSettings

# No environment variable begins with it: Faust would read dozens, but only settings.py reads the environment.
_NO_ENVIRONMENT = "MILLRACE_NO_FAUST_SETTING_"
_HEARTBEATS_IN_A_SESSION = 4


def faust_connection(kafka: KafkaSettings) -> dict[str, Any]:
    """Arguments of `faust.App`: brokers, sessions, what is sent, and nothing that Faust would look for by itself."""
    session = kafka.session_timeout_seconds
    return {
        "broker": _servers(kafka),
        "broker_client_id": kafka.client_id,
        "broker_credentials": _credentials(kafka),
        "broker_session_timeout": session,
        "broker_heartbeat_interval": session / _HEARTBEATS_IN_A_SESSION,
        "broker_request_timeout": max(kafka.request_timeout_seconds, 2 * session),
        "producer_acks": -1,
        "producer_compression_type": kafka.compression,
        "producer_max_request_size": MAX_REQUEST_BYTES,
        "topic_replication_factor": kafka.replication_factor,
        "topic_disable_leader": True,
        "store": "rocksdb://",
        "autodiscover": False,
        "web_enabled": False,
        "env_prefix": _NO_ENVIRONMENT,
    }


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
