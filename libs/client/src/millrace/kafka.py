"""The broker that the settings name."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from millrace.errors import ClientError
from millrace.settings import Settings
from millrace_bus.broker import Broker
from millrace_bus.kafka import KafkaBroker
from millrace_kernel.errors import TransientError
from millrace_service.settings import PlatformSettings

Answer = TypeVar("Answer")


def broker_of(settings: Settings) -> Broker:
    """A broker as the services reach it (SASL and TLS by the same variables), at the stack's address."""
    platform: Any = PlatformSettings  # every field has a default, which its type does not say
    return KafkaBroker(platform(kafka_bootstrap_servers=settings.bootstrap).kafka("millrace-cli"))


def with_broker(settings: Settings, work: Callable[[Broker], Awaitable[Answer]]) -> Answer:
    """Run work that needs the broker. A broker that is away is a ClientError: one line, and what to do."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs what it raises anyway

    async def run() -> Answer:
        return await work(broker_of(settings))

    try:
        return asyncio.run(run())
    except TransientError as error:
        raise ClientError(_told(settings, error)) from error


def _told(settings: Settings, error: TransientError) -> str:
    if "Unable to bootstrap" in str(error):
        return f"Kafka does not answer at {settings.bootstrap}: start the stack with `millrace up`, or name another with KAFKA_BOOTSTRAP_SERVERS"
    return f"{error}; `millrace doctor` says what is missing"
