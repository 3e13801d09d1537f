"""`python -m millrace_features`."""

from millrace_features.bootstrap import NAME, assemble
from millrace_features.entrypoints.http import app
from millrace_features.entrypoints.worker import components
from millrace_features.settings import Settings
from millrace_service.process import Service, run


def main() -> None:
    settings = Settings()

    async def build() -> Service:
        parts = assemble(settings)
        service = Service(
            name=NAME,
            port=settings.features_port,
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
