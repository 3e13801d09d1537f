"""A client that asks at a constant rate, whatever comes back: latency counts from when a request was due (open loop).

    python -m benchmarks.serving.paced --port P --path /infer --bodies FILE --rate N --seconds S

Bare sockets and select(2), whose timeout is finer than a millisecond: about 25 microseconds of its core per request. When no
connection is free at its time, a request waits, and its waiting counts.
"""

import argparse
import json
import select
import socket
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.serving.figures import Load, percentile
from benchmarks.serving.processes import ContenderFailedError

MOST_CONNECTIONS = 256
_DRAIN_SECONDS = 5.0


def due_times(rate: float, seconds: float) -> list[float]:
    """Seconds from the start, evenly spaced."""
    return [number / rate for number in range(int(rate * seconds))]


def is_whole(received: bytes) -> bool:
    """Whether this is a response to its end. Raises ValueError for one that doesn't say how long it is."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = received[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return len(received) >= end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
    if b"\r\ntransfer-encoding: chunked" in head:
        return received.endswith(b"\r\n0\r\n\r\n")
    raise ValueError(f"a response that doesn't say how long it is: {received[:200]!r}")


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    due: float = 0.0
    received: bytes = b""


@dataclass(slots=True)
class _Client:
    port: int
    requests: list[bytes]
    free: deque[_Connection] = field(default_factory=deque)
    busy: dict[socket.socket, _Connection] = field(default_factory=dict)
    waiting: deque[float] = field(default_factory=deque)
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    sent: int = 0

    def ask(self, due: float) -> None:
        if not self.free and len(self.busy) >= MOST_CONNECTIONS:
            self.waiting.append(due)
            return
        connection = self.free.popleft() if self.free else self._connected()
        connection.due, connection.received = due, b""
        connection.socket.sendall(self.requests[self.sent % len(self.requests)])
        self.sent += 1
        self.busy[connection.socket] = connection

    def hear(self, ready: socket.socket) -> None:
        connection = self.busy[ready]
        piece = ready.recv(65_536)
        if not piece:
            raise ConnectionError("the server closed a connection in the middle of an answer")
        connection.received += piece
        if not is_whole(connection.received):
            return
        self.latencies.append(time.perf_counter() - connection.due)
        self.errors += not connection.received.startswith(b"HTTP/1.1 200")
        del self.busy[ready]
        self.free.append(connection)
        if self.waiting:
            self.ask(self.waiting.popleft())

    def close(self) -> None:
        for connection in (*self.free, *self.busy.values()):
            connection.socket.close()

    def _connected(self) -> _Connection:
        made = socket.create_connection(("127.0.0.1", self.port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Connection(made)


def play(port: int, requests: list[bytes], rate: float, seconds: float) -> Load:
    """What never came within seconds of the end counts as an error.

    Raises ConnectionError when the server hangs up, ContenderFailedError when nothing was answered.
    """
    client = _Client(port, requests)
    try:
        _play(client, rate, seconds)
    finally:
        client.close()
    milliseconds = sorted(1e3 * latency for latency in client.latencies)
    lost = int(rate * seconds) - len(milliseconds)
    if not milliseconds:
        raise ContenderFailedError(f"no answer to any of {lost} requests")
    return Load(
        seconds=seconds,
        requests=len(milliseconds) + lost,
        errors=client.errors + lost,
        p50_ms=percentile(milliseconds, 0.5),
        p99_ms=percentile(milliseconds, 0.99),
    )


def _play(client: _Client, rate: float, seconds: float) -> None:
    began = time.perf_counter()
    coming = deque(began + due for due in due_times(rate, seconds))
    last = began + seconds + _DRAIN_SECONDS
    while (coming or client.busy or client.waiting) and time.perf_counter() < last:
        now = time.perf_counter()
        while coming and coming[0] <= now:
            client.ask(coming.popleft())
        wait = max(0.0, (coming[0] if coming else last) - time.perf_counter())
        for ready in select.select(list(client.busy), [], [], wait)[0]:
            client.hear(ready)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--bodies", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    head = f"POST {options.path} HTTP/1.1\r\nhost: 127.0.0.1:{options.port}\r\ncontent-type: application/json\r\n"
    requests = [
        head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body
        for body in options.bodies.read_bytes().splitlines()
    ]
    print(json.dumps(asdict(play(options.port, requests, options.rate, options.seconds))))


if __name__ == "__main__":
    main()
