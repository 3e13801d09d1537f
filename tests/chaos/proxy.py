"""A small TCP proxy before the broker that can be made to swallow everything: a broker that can't be reached."""

import asyncio
from contextlib import suppress

_CHUNK = 1 << 18


class Proxy:
    """Forwards connections to 127.0.0.1:`target`. While `unreachable`, nothing passes and nothing is refused."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._abort_all()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def unreachable(self, seconds: float) -> None:
        """Swallow what comes, both ways; then break every connection of before, as a router that comes back does."""
        self._open.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._abort_all()
            self._open.set()

    def _abort_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(writer)
        onward: asyncio.StreamWriter | None = None
        try:
            await self._open.wait()
            answers, onward = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(onward)
            both = [self._pump(reader, onward), self._pump(answers, writer)]
            await asyncio.wait(
                [asyncio.ensure_future(way) for way in both], return_when=asyncio.ALL_COMPLETED
            )
        except OSError:
            pass  # the broker is away: so is its proxy
        finally:
            self._connections.discard(task)
            for end in (writer, onward):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(_CHUNK):
                await self._open.wait()
                sink.write(chunk)
                await sink.drain()
        sink.transport.abort()
