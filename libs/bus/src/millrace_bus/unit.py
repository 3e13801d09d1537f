"""One transaction as handlers see it: repositories on demand, shared by all messages of the batch, flushed once."""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection

from millrace_contracts.message import Cause

SqlHandler = Callable[[Any, "Unit"], Iterable[object]]


class CurrentCause:
    """Stands in `inject` for what is being handled: its id, time, correlation and trace, to be kept for later work."""


class Unit:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.cause: Cause | None = None
        self._repositories: dict[Callable[[Connection], Any], Any] = {}

    def get(self, factory: Any) -> Any:
        if factory is CurrentCause:
            return self.cause
        repository = self._repositories.get(factory)
        if repository is None:
            repository = self._repositories[factory] = factory(self.connection)
        return repository

    def flush(self) -> None:
        """Let every repository that collects its writes write them."""
        for repository in self._repositories.values():
            if flush := getattr(repository, "flush", None):
                flush()


def inject(handler: Callable[..., Iterable[object] | None], **repositories: Any) -> SqlHandler:
    """Give a handler its repositories by name, each made once per transaction from the connection."""

    def handle(event: Any, unit: Unit) -> Iterable[object]:
        outcome = handler(
            event, **{name: unit.get(factory) for name, factory in repositories.items()}
        )
        return () if outcome is None else outcome

    return handle
