"""Features over HTTP: health and metrics. Vectors travel on the bus."""

from collections.abc import Callable

from fastapi import FastAPI

from millrace_features.bootstrap import NAME, Parts
from millrace_service.http import create_app


def app(parts: Parts, is_ready: Callable[[], bool]) -> FastAPI:
    return create_app(
        NAME, is_ready, parts.metrics.registry, description="Turns events into feature vectors."
    )
