"""The one place of this package that reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace.errors import UsageError

KAFKA, ZIPKIN = "kafka", "zipkin"
SERVICES = ("registry", "ingestion", "features", "serving", "training", "monitoring")
PROGRAMS = (KAFKA, ZIPKIN, *SERVICES)

_PORTS = {
    KAFKA: 9092,
    ZIPKIN: 9411,
    "ingestion": 8101,
    "features": 8102,
    "training": 8103,
    "registry": 8104,
    "serving": 8105,
    "monitoring": 8106,
}
_LAST_PORT = 65_535
_HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the stack's state is, and where everybody listens.

    `given` holds what the environment says by itself, so that a running stack's own addresses count for the rest.
    """

    home: Path
    host: str
    ports: Mapping[str, int]
    bootstrap: str
    zipkin: str
    urls: Mapping[str, str]
    traces_exporter: str
    objects: str
    trusted_keys: tuple[Path, ...]
    given: frozenset[str]
    user: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the environment. Raises UsageError for a port that is none."""
        ports = {name: _port(environment, name) for name in PROGRAMS}
        host = environment.get("HTTP_HOST") or _HERE
        reached = _HERE if host == "0.0.0.0" else host  # noqa: S104  where it listens; we connect to it here
        urls = {
            name: environment.get(f"{name.upper()}_URL") or f"http://{reached}:{ports[name]}"
            for name in SERVICES
        }
        home = Path(environment.get("MILLRACE_HOME") or ".millrace").expanduser().absolute()
        return cls(
            home=home,
            host=host,
            ports=ports,
            bootstrap=environment.get("KAFKA_BOOTSTRAP_SERVERS") or f"{_HERE}:{ports[KAFKA]}",
            zipkin=f"http://{_HERE}:{ports[ZIPKIN]}",
            urls=urls,
            traces_exporter=environment.get("OTEL_TRACES_EXPORTER") or ZIPKIN,
            objects=environment.get("OBJECT_STORE_URL") or f"file://{home.resolve() / 'objects'}",
            trusted_keys=_paths(environment.get("MILLRACE_TRUSTED_KEYS"))
            or (home.resolve() / "keys" / "trusted",),
            given=frozenset(name for name, value in environment.items() if value),
            user=environment.get("USER") or environment.get("LOGNAME") or "someone",
        )

    @property
    def runs_kafka(self) -> bool:
        """Whether a local stack brings its own Kafka; one that KAFKA_BOOTSTRAP_SERVERS names runs elsewhere."""
        local = {f"{host}:{self.ports[KAFKA]}" for host in (_HERE, "localhost")}
        return self.bootstrap in local

    @property
    def runs_zipkin(self) -> bool:
        """Whether a local stack brings its own tracing UI: not when spans go elsewhere, or nowhere."""
        return self.traces_exporter == ZIPKIN and "OTEL_EXPORTER_ZIPKIN_ENDPOINT" not in self.given

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def demo_mark(self) -> Path:
        """Its presence says that the demo made this home and that nobody else has used it since."""
        return self.home / "made-by-demo"

    @property
    def stack_file(self) -> Path:
        return self.home / "stack.json"


def port_variable(name: str) -> str:
    """The environment variable that moves this program's port."""
    return f"{name.upper()}_PORT"


def load() -> Settings:
    return Settings.of(os.environ)


def inherited_environment() -> dict[str, str]:
    """What a child process gets from us, before its own additions."""
    return dict(os.environ)


def _paths(text: str | None) -> tuple[Path, ...]:
    return tuple(Path(path) for path in (text or "").split(":") if path)


def _port(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(port_variable(name)) or str(_PORTS[name])
    if not text.isdecimal() or not 0 < int(text) <= _LAST_PORT:
        raise UsageError(
            f"{port_variable(name)}={text!r} is no port; set a number from 1 to {_LAST_PORT}"
        )
    return int(text)
