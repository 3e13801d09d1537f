"""Zipkin's server on this machine: takes spans and shows them, in memory."""

import http.client
import signal
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from millrace_local.probes import wait_until


@dataclass(frozen=True, slots=True)
class LocalZipkin:
    """Zipkin on 127.0.0.1; the spans live as long as the process. `jar` is what `install.zipkin_jar()` returns."""

    port: int
    jar: Path
    heap: str = "256m"
    java: str = "java"

    name = "zipkin"
    run_as = None
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}/zipkin/"

    @property
    def spans_url(self) -> str:
        """Where spans are sent (OTEL_EXPORTER_ZIPKIN_ENDPOINT)."""
        return f"http://127.0.0.1:{self.port}/api/v2/spans"

    def prepare(self) -> None:
        """Nothing: it keeps nothing."""

    def command(self) -> list[str]:
        flags = [f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        # one property of a list replaces the whole list, so all three are given
        listener = ["address=127.0.0.1", f"port={self.port}", "protocols[0]=http"]
        return [
            self.java,
            *flags,
            "-jar",
            str(self.jar.resolve()),
            *(f"--armeria.ports[0].{entry}" for entry in listener),
        ]

    def environment(self) -> dict[str, str]:
        return {"LC_ALL": "C.UTF-8", "SELF_TRACING_ENABLED": "false"}

    def ready(self, timeout: float) -> bool:
        """Whether it says that it is healthy."""
        return wait_until(lambda: _healthy(self.port), timeout)


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False  # not listening yet
    finally:
        connection.close()
