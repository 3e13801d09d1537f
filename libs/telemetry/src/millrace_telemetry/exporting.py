"""Where spans go: chosen by OpenTelemetry's own variables, read by each service's settings."""

from enum import StrEnum

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from millrace_telemetry.tracing import Tracing

ZIPKIN_ENDPOINT = "http://127.0.0.1:9411/api/v2/spans"


class Exporter(StrEnum):
    NONE = "none"
    OTLP = "otlp"
    ZIPKIN = "zipkin"


def tracing(
    service: str,
    exporter: Exporter,
    *,
    zipkin_endpoint: str = ZIPKIN_ENDPOINT,
    sampling_ratio: float = 0.0,
) -> Tracing:
    """The tracing of one service. OTLP's endpoint and headers are the exporter's own `OTEL_EXPORTER_OTLP_*` variables."""
    if exporter is Exporter.NONE:
        return Tracing(group=service, sampling_ratio=sampling_ratio)
    resource = Resource.create({"service.name": service, "service.namespace": "millrace"})
    # Sampling is decided at the entry, by the event's id; whatever span is started here belongs to a sampled trace.
    provider = TracerProvider(resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(_exporter(exporter, zipkin_endpoint), schedule_delay_millis=1_000)
    )
    return Tracing(provider, group=service, sampling_ratio=sampling_ratio)


def _exporter(exporter: Exporter, zipkin_endpoint: str) -> SpanExporter:
    """Exporters bring an HTTP client each, so only the chosen one is imported."""
    if exporter is Exporter.ZIPKIN:
        from opentelemetry.exporter.zipkin.json import ZipkinExporter

        return ZipkinExporter(endpoint=zipkin_endpoint)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
