"""From the settings to the programs of a local stack."""

import http.client
import shutil
import socket
import sys
from collections.abc import Callable, Collection
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from millrace.errors import ClientError, UsageError
from millrace.settings import KAFKA, PROGRAMS, SERVICES, ZIPKIN, Settings, port_variable
from millrace.supervisor.program import Program, Tier
from millrace_local.install import kafka_jars, zipkin_jar
from millrace_local.java import find_java
from millrace_local.kafka import LocalKafka
from millrace_local.ports import free_port
from millrace_local.zipkin import LocalZipkin

_PROBE_SECONDS = 1.0
SAMPLING_RATIO = "0.01"  # of events; the loop's own steps are always traced


def names_of(settings: Settings, only: Collection[str]) -> tuple[str, ...]:
    """Which programs a stack has, in the order of their start. Raises UsageError for a name that is none."""
    unknown = sorted(set(only) - set(PROGRAMS))
    if unknown:
        raise UsageError(f"no program {unknown[0]!r}; --only takes {', '.join(PROGRAMS)}")
    there = {KAFKA: settings.runs_kafka, ZIPKIN: settings.runs_zipkin}
    return tuple(name for name in PROGRAMS if (name in only or not only) and there.get(name, True))


def programs(settings: Settings, names: Collection[str]) -> list[Program]:
    """What to run for these names, in that order. Raises LocalServerError when Java or a jar is missing."""
    makers: dict[str, Callable[[Settings], Program]] = {KAFKA: _kafka, ZIPKIN: _zipkin}
    return [
        makers[name](settings) if name in makers else _service(settings, name) for name in names
    ]


def refuse_taken_ports(settings: Settings, names: Collection[str]) -> None:
    """Raises ClientError that names the port, who has it if that can be seen, and the variable that moves it."""
    for name in names:
        host = "127.0.0.1" if name in (KAFKA, ZIPKIN) else settings.host
        if not is_free(host, settings.ports[name]):
            raise ClientError(
                f"port {settings.ports[name]} is taken: end what listens there, "
                f"or move {name} with {port_variable(name)}=<another port>"
            )


def is_free(host: str, port: int) -> bool:
    with socket.socket() as listener:
        # as servers do it: connections that are still being closed don't count
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def answers_ready(url: str, timeout: float) -> bool:
    """Whether a service says that it does its work."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False  # not listening (yet)
    finally:
        connection.close()


def _kafka(settings: Settings) -> Program:
    server = LocalKafka(
        home=settings.home / KAFKA,
        port=settings.ports[KAFKA],
        controller_port=free_port(),
        jars=kafka_jars(),
        java=str(find_java()),
    )
    return Program(
        name=KAFKA,
        command=tuple(server.command()),
        port=server.port,
        address=server.bootstrap,
        ready=partial(server.ready, 0.0),
        tier=Tier.SERVER,
        environment=server.environment(),
        prepare=server.prepare,
        stop_signal=server.stop_signal,
    )


def _zipkin(settings: Settings) -> Program:
    server = LocalZipkin(port=settings.ports[ZIPKIN], jar=zipkin_jar(), java=str(find_java()))
    return Program(
        name=ZIPKIN,
        command=(*_behind_the_others(), *server.command()),
        port=server.port,
        address=server.url,
        ready=partial(server.ready, 0.0),
        tier=Tier.SERVER,
        environment=server.environment(),
        prepare=server.prepare,
        stop_signal=server.stop_signal,
    )


def _behind_the_others() -> tuple[str, ...]:
    """Whoever watches must not slow down what is watched: the tracing UI gets what processor time is left."""
    nice = shutil.which("nice")
    return (nice, "-n", "5") if nice else ()


def _service(settings: Settings, name: str) -> Program:
    if name not in SERVICES:
        raise UsageError(f"no service {name!r}; there are {', '.join(SERVICES)}")
    url = settings.urls[name]
    return Program(
        name=name,
        command=(sys.executable, "-m", f"millrace_{name}"),
        port=settings.ports[name],
        address=url,
        ready=partial(answers_ready, url, _PROBE_SECONDS),
        environment=_service_environment(settings, settings.home),
    )


def _service_environment(settings: Settings, home: Path) -> dict[str, str]:
    """What a service is told, where the environment doesn't say it already."""
    defaults = {
        "OTEL_TRACES_EXPORTER": settings.traces_exporter,
        "OTEL_EXPORTER_ZIPKIN_ENDPOINT": f"{settings.zipkin}/api/v2/spans",
        "OTEL_TRACES_SAMPLER_ARG": SAMPLING_RATIO,
        "PYTHONUNBUFFERED": "1",
    }
    ours = {name: value for name, value in defaults.items() if name not in settings.given}
    return ours | {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap, "MILLRACE_HOME": str(home)}
