"""aiokafka on uvloop, whose transports refuse a write after they were closed."""

import asyncio

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from millrace_bus.connections import keep_the_word


async def _closed_connection(closed: list[CloseReason]) -> AIOKafkaConnection:
    """A connection whose transport is closed, and which has not heard of it yet."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = AIOKafkaConnection(
        "127.0.0.1", port, on_close=lambda _, reason: closed.append(reason)
    )
    connection._reader, connection._writer = await asyncio.open_connection("127.0.0.1", port)
    connection._versions = {MetadataRequest.API_KEY: (0, 0)}
    transport = connection._writer.transport
    transport.abort()
    while not _is_gone(transport):  # noqa: ASYNC110  nobody says when
        await asyncio.sleep(0)
    server.close()
    connection._read_task = connection._create_reader_task()
    return connection


def _is_gone(transport: asyncio.Transport) -> bool:
    try:
        transport.write(b"")
    except RuntimeError:
        return True
    return False


def test_a_write_to_a_closed_transport_is_a_broken_connection() -> None:
    keep_the_word()
    keep_the_word()  # once is as good as twice
    closed: list[CloseReason] = []

    async def send() -> None:
        connection = await _closed_connection(closed)
        with pytest.raises(KafkaConnectionError, match="the handler is closed"):
            await connection.send(MetadataRequest([]))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(send(), 10))
    assert closed == [CloseReason.CONNECTION_BROKEN]
