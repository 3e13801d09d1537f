"""The whole service as one process."""

import asyncio

from millrace_bus.kafka import KafkaBroker
from millrace_service.process import Service, chance, run
from millrace_training.bootstrap import NAME, training
from millrace_training.entrypoints.http import create
from millrace_training.entrypoints.worker import components
from millrace_training.settings import Settings


def serve() -> None:
    """Until SIGTERM or SIGINT."""
    settings = Settings()

    async def build() -> Service:
        broker = KafkaBroker(settings.kafka(f"millrace-{NAME}"))
        made = await asyncio.to_thread(training, settings, broker, chance=chance)
        parts = components(made)
        return Service(
            name=NAME,
            port=settings.training_port,
            settings=settings,
            broker=made.broker,
            app=create(made, lambda: all(part.ready.is_set() for part in parts)),
            components=parts,
            tracing=made.tracing,
            closing=[made.database.close],
        )

    run(settings, NAME, build)
