"""Whether one trace really shows the whole loop: asked of the tracing UI itself."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import httpx2

WHOLE_LOOP = frozenset({"monitoring", "training", "registry", "serving"})

_PAUSE_SECONDS = 0.5


def services_of(spans: Sequence[dict[str, Any]]) -> frozenset[str]:
    """Who recorded spans of a trace, as Zipkin tells it."""
    return frozenset(
        str((span.get("localEndpoint") or {}).get("serviceName", "")).lower() for span in spans
    )


async def missing_services(
    zipkin: str, trace: str, *, seconds: float, ask: Callable[[str], Any] | None = None
) -> frozenset[str]:
    """The services of the loop without a span in the trace; empty when it is whole. Spans arrive a little later."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        spans = await asyncio.to_thread(ask or _spans, f"{zipkin}/api/v2/trace/{trace}")
        missing = WHOLE_LOOP - services_of(spans)
        if not missing or loop.time() > deadline:
            return missing
        await asyncio.sleep(_PAUSE_SECONDS)


def _spans(url: str) -> Any:  # noqa: ANN401  whatever Zipkin answers
    try:
        answer = httpx2.get(url, timeout=5.0, trust_env=False)
        return answer.json() if answer.is_success else []
    except (httpx2.HTTPError, ValueError):
        return []
