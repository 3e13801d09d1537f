"""python -m millrace_serving"""

from millrace_service.process import Service, run
from millrace_serving.bootstrap import NAME, assemble
from millrace_serving.entrypoints.grpc_server import GrpcServer
from millrace_serving.entrypoints.hot_protocol import hot_protocol
from millrace_serving.entrypoints.http import app
from millrace_serving.entrypoints.worker import components
from millrace_serving.settings import Settings


def main() -> None:
    settings = Settings()

    async def build() -> Service:
        parts = assemble(settings)
        service = Service(
            name=NAME,
            port=settings.serving_port,
            settings=settings,
            broker=parts.broker,
            app=None,
            components=components(parts),
            tracing=parts.tracing,
        )
        hot_path = app(parts, service.is_ready)
        service.app, service.http_protocol = hot_path, hot_protocol(hot_path.at_once)
        server = GrpcServer(parts, service.is_ready, service.components)
        service.components = (*service.components, server)
        return service

    run(settings, NAME, build)


if __name__ == "__main__":
    main()
