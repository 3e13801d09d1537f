"""A Faust application that reaches Kafka as the services do, and commits only what was handled."""

import logging
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import faust
from typing_extensions import override

from millrace_bus.faust_connection import faust_connection
from millrace_service.settings import PlatformSettings
from millrace_telemetry.tracing import Tracing


class HandledEvent(faust.Event):
    """An event whose offset counts when it was handled, and not before.

    Faust itself also acknowledges what it skips during a rebalance and what an agent failed at; both would be lost.
    """

    @override
    def ack(self) -> bool:
        return False

    def handled(self) -> bool:
        """Let the group's offset move past this event."""
        return super().ack()


class Application(faust.App):
    """A `faust.App` with the platform's settings and tracing."""

    def __init__(self, name: str, platform: PlatformSettings, **options: Any) -> None:  # noqa: ANN401  Faust's settings
        self.platform = platform
        self.tracing: Tracing = platform.tracing(name)
        (platform.millrace_home / "agents" / name).mkdir(parents=True, exist_ok=True)
        super().__init__(name, **(_defaults(name, platform) | options))


def application(
    name: str,
    *,
    platform: PlatformSettings | None = None,
    **options: Any,  # noqa: ANN401
) -> Application:
    """An application named `name`: its consumer group, and the beginning of its changelogs' names.

    Kafka is found by the environment variables that the services read (`KAFKA_BOOTSTRAP_SERVERS`, ...; see
    docs/settings.md), tables are kept under `<MILLRACE_HOME>/agents/<name>`. `options` are Faust's own and win.
    """
    if platform is None:
        settings: Any = PlatformSettings  # every field has a default, which its type does not say
        platform = settings()
    logging.getLogger("faust").setLevel(logging.WARNING)
    return Application(name, platform, **options)


def by_key(key: bytes | None, partitions: Sequence[int], _available: Sequence[int]) -> int:
    """CRC-32 as everywhere on the platform, so that an entity's records meet in one partition."""
    return partitions[crc32(key or b"") % len(partitions)]


def _defaults(name: str, platform: PlatformSettings) -> dict[str, Any]:
    return faust_connection(platform.kafka(name)) | {
        "producer_partitioner": by_key,
        "datadir": platform.millrace_home.resolve() / "agents" / name,
        "Event": HandledEvent,
        "cython_optimizations": False,  # they acknowledge past `Event.ack`
    }
