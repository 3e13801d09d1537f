"""Monitoring on the bus: pipelines, champions, predictions and labels in; drift and alerts out."""

from millrace_bus.sql_worker import SqlSettings, SqlWorker
from millrace_monitoring.bootstrap import NAME, Parts, foresee

TOPICS = ("millrace.pipelines", "millrace.models", "millrace.predictions", "millrace.labels")


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
        foresee=foresee,
        tracing=parts.tracing,
        metrics=parts.metrics,
    )
