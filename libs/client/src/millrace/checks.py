"""What a stack needs, checked one thing at a time. Every check says what it found and, when that won't do, the fix."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from millrace.errors import ClientError
from millrace.kafka import with_broker
from millrace.settings import KAFKA, SERVICES, ZIPKIN, Settings, port_variable
from millrace.supervisor.control import running_stack
from millrace.supervisor.plan import answers_ready, is_free, names_of
from millrace_bus.broker import Broker
from millrace_contracts.catalogue import catalogue
from millrace_kernel.clock import SystemClock
from millrace_kernel.time import Instant, parse_rfc3339, rfc3339
from millrace_local.errors import LocalServerError
from millrace_local.java import INSTALL_HINT, find_java

_FREE_BYTES = 2 * 10**9
_BUILT_AFTER = parse_rfc3339("2026-01-01T00:00:00Z")
_SANE_UNTIL = parse_rfc3339("2100-01-01T00:00:00Z")


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    found: str
    fix: str = ""


def checks_of(settings: Settings, *, machine_only: bool = False) -> list[Check]:
    """The machine first; then, unless only that is asked for, the stack."""
    checks = [java(), maven(), home(settings), disk(settings), clock(SystemClock().now())]
    if running_stack(settings) is None:
        checks += ports(settings)
    if not machine_only:
        checks += [kafka_and_topics(settings), *health(settings)]
    return checks


def java() -> Check:
    try:
        return Check("java", ok=True, found=str(find_java()))
    except LocalServerError as error:
        found, _, fix = str(error).partition(". ")
        return Check("java", ok=False, found=found, fix=fix or INSTALL_HINT)


def maven() -> Check:
    found = shutil.which("mvn")
    return Check("mvn", found is not None, found or "not on the PATH", INSTALL_HINT)


def home(settings: Settings) -> Check:
    fix = "make it writable, or name another folder with MILLRACE_HOME"
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.home):
            return Check("home", ok=True, found=str(settings.home))
    except OSError as error:
        return Check("home", ok=False, found=f"{settings.home}: {error.strerror}", fix=fix)


def disk(settings: Settings, needed: int = _FREE_BYTES) -> Check:
    existing = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 1e9:.1f} GB free for {settings.home}"
    return Check(
        "disk", free >= needed, found, f"free {needed / 1e9:.0f} GB, or move MILLRACE_HOME"
    )


def clock(now: Instant) -> Check:
    """Event times are compared with it: a clock that is years off would refuse everything."""
    return Check(
        "clock", _BUILT_AFTER <= now <= _SANE_UNTIL, rfc3339(now), "set the machine's clock"
    )


def ports(settings: Settings) -> Iterator[Check]:
    """Only asked while no stack of this home runs: then each must be free."""
    for name in names_of(settings, ()):
        port = settings.ports[name]
        host = "127.0.0.1" if name in (KAFKA, ZIPKIN) else settings.host
        free = is_free(host, port)
        fix = f"end what listens there, or move {name} with {port_variable(name)}=<another port>"
        yield Check(f"port {port} ({name})", free, "free" if free else "taken", fix)


def kafka_and_topics(settings: Settings) -> Check:
    async def names(broker: Broker) -> frozenset[str]:
        return await broker.topics()

    try:
        there = with_broker(settings, names)
    except ClientError as error:
        found = str(error).partition(";")[0]
        return Check("kafka", ok=False, found=found, fix="start the stack: millrace up --detach")
    missing = sorted(set(catalogue().topics) - there)
    if missing:
        fix = "the services create them when they start: millrace up --detach"
        return Check("kafka", ok=False, found=f"without the topics {', '.join(missing)}", fix=fix)
    count = len(catalogue().topics)
    return Check(
        "kafka", ok=True, found=f"{settings.bootstrap}, all {count} topics of the catalogue"
    )


def health(settings: Settings) -> Iterator[Check]:
    for name in SERVICES:
        url = settings.urls[name]
        ready = answers_ready(url, 2.0)
        log = settings.logs / f"{name}.log"
        fix = f"its log is {log}" if log.is_file() else "start the stack: millrace up --detach"
        yield Check(name, ready, f"{'ready' if ready else 'not ready'} at {url}", fix)
