"""aiokafka's connections, made to keep their word on uvloop.

`AIOKafkaConnection.send` promises KafkaConnectionError for a connection that is gone, and all of aiokafka relies on it.
asyncio's own transports swallow a write after they were closed; uvloop's raise RuntimeError instead. When that meets the
task that refreshes the client's metadata, the task ends, nobody is told, and whatever waits for fresh metadata (finding
the group's coordinator, above all) waits for ever: a reader stood still after its broker had been killed and was back.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


def keep_the_word() -> None:
    """Have every connection of this process raise what it promises. To be called as often as one likes."""
    if not hasattr(AIOKafkaConnection.send, "__wrapped__"):
        AIOKafkaConnection.send = _told(AIOKafkaConnection.send)


def _told(send: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(send)
    def told(connection: Any, request: Any, expect_response: bool = True) -> Any:
        try:
            return send(connection, request, expect_response)
        except RuntimeError as error:
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            where = f"{connection.host}:{connection.port}"
            raise KafkaConnectionError(f"Connection at {where} broken: {error}") from error

    return told
