"""`python -m millrace_monitoring`."""

import asyncio

from millrace_bus.kafka import KafkaBroker
from millrace_monitoring.bootstrap import NAME, assemble
from millrace_monitoring.entrypoints.http import create
from millrace_monitoring.entrypoints.worker import worker
from millrace_monitoring.settings import Settings
from millrace_service.process import Service, chance, run


def main() -> None:
    settings = Settings()

    async def build() -> Service:
        broker = KafkaBroker(settings.kafka(f"millrace-{NAME}"))
        parts = await asyncio.to_thread(lambda: assemble(settings, broker, chance=chance))
        reader = worker(parts)
        return Service(
            name=NAME,
            port=settings.monitoring_port,
            settings=settings,
            broker=broker,
            app=create(parts, reader.ready.is_set),
            components=[reader],
            tracing=parts.tracing,
            closing=[parts.database.close],
        )

    run(settings, NAME, build)


if __name__ == "__main__":
    main()
