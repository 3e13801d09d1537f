"""Where the stack of a home really listens: what the environment says, else what its `stack.json` says."""

from dataclasses import replace

from millrace.settings import KAFKA, SERVICES, ZIPKIN, Settings, load, port_variable
from millrace.supervisor.stack_file import Stack, read


def settings_of_the_stack() -> Settings:
    """The settings, with a running stack's own addresses where the environment does not name others."""
    settings = load()
    stack = read(settings.stack_file)
    return with_stack(settings, stack) if stack is not None and stack.lives else settings


def with_stack(settings: Settings, stack: Stack) -> Settings:
    ports, urls = dict(settings.ports), dict(settings.urls)
    for process in stack.processes:
        if port_variable(process.name) in settings.given:
            continue
        ports[process.name] = process.port
        if process.name in SERVICES and f"{process.name.upper()}_URL" not in settings.given:
            urls[process.name] = process.address
    kafka_is_named = {"KAFKA_BOOTSTRAP_SERVERS", port_variable(KAFKA)} & settings.given
    return replace(
        settings,
        ports=ports,
        urls=urls,
        bootstrap=settings.bootstrap if kafka_is_named else stack.bootstrap,
        zipkin=f"http://127.0.0.1:{ports[ZIPKIN]}",
    )
