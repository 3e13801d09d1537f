"""How a cluster is reached, and the error of one that does not answer: what the parts of the Kafka implementation share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace_kernel.errors import TransientError

MAX_BATCH_BYTES = 1 << 20
MAX_REQUEST_BYTES = 16 << 20
FETCH_BYTES = 8 << 20


class BrokerAwayError(TransientError):
    """The broker did not do what was asked of it, now."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How to reach a cluster. `security` holds aiokafka's own security arguments (SASL, TLS).

    `members`: a folder of this instance's own, where a killed reader's successor finds out whom it follows; without one
    the partitions of a killed reader wait for its session to time out.
    """

    bootstrap_servers: str = "127.0.0.1:9092"
    client_id: str = "millrace"
    session_timeout_seconds: float = 10.0
    request_timeout_seconds: float = 15.0
    compression: str | None = "lz4"
    replication_factor: int = 1  # of topics that are created; 3 on a cluster
    members: Path | None = None
    security: Mapping[str, Any] = field(default_factory=dict)


def away(settings: KafkaSettings, errand: str, error: BaseException) -> BrokerAwayError:
    """What the client raised, in Millrace's words."""
    detail = str(error) or type(error).__name__
    return BrokerAwayError(f"cannot {errand} at {settings.bootstrap_servers}: {detail}")
