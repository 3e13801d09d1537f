"""The trace of each run's request, so that the run and what comes of it go on with it.

A request whose cause was not sampled starts a trace of its own, which nobody but its sender knows. Kept in memory only: a
run that is carried out by another process than the one that decided on it goes on with the cause's trace instead.
"""

from opentelemetry.trace import Span
from typing_extensions import override

from millrace_contracts.catalogue import Trace
from millrace_telemetry.tracing import Handled, Tracing

_REQUEST = "millrace.v1.RetrainRequested"
_MOST = 1000  # a leak would need as many runs decided on here and carried out elsewhere


class RequestTraces(Tracing):
    """Another tracing, with a memory for requests."""

    def __init__(self, tracing: Tracing) -> None:
        super().__init__()
        self._inner = tracing
        self._contexts: dict[str, str] = {}

    def take(self, request_id: str) -> str | None:
        """The context that a request was sent with, once."""
        return self._contexts.pop(request_id, None)

    @override
    def sent(
        self, rule: Trace, parent: str | None, event_type: str, topic: str, event_id: str
    ) -> str | None:
        context = self._inner.sent(rule, parent, event_type, topic, event_id)
        if event_type == _REQUEST and context is not None:
            if len(self._contexts) >= _MOST:
                self._contexts.clear()
            self._contexts[event_id] = context
        return context

    @override
    def process(self, message: Handled) -> Span | None:
        return self._inner.process(message)

    @override
    def work(self, name: str, parent: str | None) -> Span | None:
        return self._inner.work(name, parent)

    @override
    def flush(self) -> None:
        self._inner.flush()
