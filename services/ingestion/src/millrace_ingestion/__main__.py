"""`python -m millrace_ingestion`."""

from millrace_ingestion.bootstrap import NAME, assemble
from millrace_ingestion.entrypoints.http import app
from millrace_ingestion.entrypoints.worker import components
from millrace_ingestion.settings import Settings
from millrace_service.process import Service, run


def main() -> None:
    settings = Settings()

    async def build() -> Service:
        parts = assemble(settings)
        service = Service(
            name=NAME,
            port=settings.ingestion_port,
            settings=settings,
            broker=parts.broker,
            app=None,
            components=components(parts),
            tracing=parts.tracing,
        )
        service.app = app(parts, service.is_ready)
        return service

    run(settings, NAME, build)


if __name__ == "__main__":
    main()
