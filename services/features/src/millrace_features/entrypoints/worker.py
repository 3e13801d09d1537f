"""Features on the bus: events in, vectors out, and the follower that hears of pipelines."""

from collections.abc import Iterable

from millrace_bus.follower import Fold
from millrace_bus.store import State
from millrace_bus.stream import Handler, each
from millrace_contracts.message import Message
from millrace_features.application.handlers import on_event, on_label
from millrace_features.application.pipelines import PipelinesHeard
from millrace_features.bootstrap import Parts
from millrace_features.domain.events import EventAccepted
from millrace_features.settings import Runtime
from millrace_kernel.ids import PipelineName
from millrace_service.process import Component


def components(parts: Parts) -> list[Component]:
    """Everything that works while the service runs."""
    return [parts.follower(fold_into(parts.pipelines)), _reader(parts)]


def _reader(parts: Parts) -> Component:
    if parts.settings.features_runtime is Runtime.FAUST:
        return parts.faust_worker(handler(parts))
    return parts.worker(each(handler(parts)))


def handler(parts: Parts) -> Handler:
    plans, histories = parts.pipelines, parts.histories

    def handle(message: Message, state: State) -> Iterable[object]:
        event = message.event
        if isinstance(event, EventAccepted):
            return on_event(event, plans, histories(state))
        return on_label(event, plans, histories(state))

    return handle


def fold_into(pipelines: PipelinesHeard) -> Fold:
    """Pipelines as they are applied; a tombstone ends one."""

    def fold(message: Message) -> None:
        if message.is_tombstone:
            pipelines.end(PipelineName((message.key or b"").decode("utf-8", "replace")))
        else:
            pipelines.apply(message.event)

    return fold
