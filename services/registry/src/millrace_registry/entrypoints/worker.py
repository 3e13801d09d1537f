"""The registry on the bus: what training, people, serving and monitoring say, in; what becomes of it, out."""

from millrace_bus.sql_worker import SqlSettings, SqlWorker
from millrace_registry.bootstrap import NAME, Parts

TOPICS = ("millrace.training", "millrace.commands", "millrace.deployments", "millrace.drift")


def worker(parts: Parts, settings: SqlSettings | None = None) -> SqlWorker:
    return SqlWorker(
        NAME,
        TOPICS,
        wire=parts.wire,
        handlers=parts.handlers,
        database=parts.database,
        broker=parts.broker,
        chance=parts.chance,
        settings=settings,
        tracing=parts.tracing,
        metrics=parts.metrics,
    )
