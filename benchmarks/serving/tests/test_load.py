"""What the load generators say, understood; and the paced client against a real server."""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise

import pytest
from benchmarks.serving.load import read_h2load, read_wrk
from benchmarks.serving.paced import due_times, is_whole, play
from benchmarks.serving.processes import ContenderFailedError
from hypothesis import given, settings
from hypothesis import strategies as st

H2LOAD = """
finished in 2.00s, 500.00 req/s, 21.70KB/s
requests: 1000 total, 1004 started, 1000 done, {succeeded} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {succeeded} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 43.42KB (44462) total, 22.48KB (23016) headers (space savings 88.89%), 12.39KB ({data}) data
"""


def h2load(data: int, succeeded: int = 1000) -> str:
    return H2LOAD.format(data=data, succeeded=succeeded, failed=1000 - succeeded)


def test_what_wrk_says_last_is_read():
    output = 'Running 2s test\n{"seconds": 2.0, "requests": 10, "errors": 1, "p50_ms": 1.5, "p99_ms": 3.0}\n'

    load = read_wrk(output)

    assert (load.requests, load.errors, load.p50_ms, load.p99_ms) == (10, 1, 1.5, 3.0)


def test_h2loads_counts_and_its_log_are_read():
    load = read_h2load(h2load(1000 * 105), list(range(1, 101)), 2.0, 100)

    assert (load.requests, load.errors, load.seconds) == (1000, 0, 2.0)
    assert (load.p50_ms, load.p99_ms) == (0.05, 0.099)


def test_answers_a_digit_shorter_are_no_errors():
    assert read_h2load(h2load(1000 * 104), [1], 2.0, 100).errors == 0


def test_an_answer_without_a_message_is_an_error():
    assert read_h2load(h2load(0), [1], 2.0, 100).errors == 1000
    assert read_h2load(h2load(900 * 105), [1], 2.0, 100).errors == 100


def test_a_failed_request_is_an_error():
    assert read_h2load(h2load(990 * 105, succeeded=990), [1], 2.0, 100).errors == 10


def test_nothing_measured_is_said():
    with pytest.raises(ContenderFailedError, match="connection refused"):
        read_h2load("connection refused", [], 2.0, 100)


@settings(deadline=None)
@given(st.floats(1.0, 5_000.0), st.floats(0.1, 2.0))
def test_requests_are_due_evenly(rate, seconds):
    times = due_times(rate, seconds)

    assert len(times) == int(rate * seconds)
    assert all(0 <= due < seconds * (1 + 1e-9) for due in times)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(abs(gap - 1 / rate) < 1e-9 for gap in gaps)


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("response", [WHOLE, CHUNKED])
def test_a_response_is_whole_at_its_end_and_not_before(response):
    assert is_whole(response)
    assert not any(is_whole(response[:length]) for length in range(len(response)))


def test_a_response_of_unknown_length_is_refused():
    with pytest.raises(ValueError, match="how long"):
        is_whole(b"HTTP/1.1 200 OK\r\n\r\n")


class _Server(socketserver.ThreadingTCPServer):
    request_queue_size = 256  # a connection that finds no room in it is retried a second later


class _Talk(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(ConnectionError):  # the client has closed with an answer unread
            while piece := self.request.recv(65_536):
                self.request.sendall(self.server.respond(piece))


@contextmanager
def server(respond) -> Iterator[int]:
    """Answers each request on each connection with what `respond` says."""
    with _Server(("127.0.0.1", 0), _Talk) as listener:
        listener.respond = respond
        thread = threading.Thread(target=listener.serve_forever, args=[0.01])
        thread.start()
        try:
            yield listener.server_address[1]
        finally:
            listener.shutdown()
            thread.join()


REQUEST = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"


def test_the_paced_client_asks_as_often_as_it_should():
    with server(lambda _: WHOLE) as port:
        load = play(port, [REQUEST], 200.0, 0.5)

    assert (load.requests, load.errors) == (100, 0)
    assert 0 < load.p50_ms <= load.p99_ms


def test_the_paced_client_counts_refusals():
    with server(lambda _: WHOLE.replace(b"200 OK", b"503 No")) as port:
        load = play(port, [REQUEST], 100.0, 0.2)

    assert (load.requests, load.errors) == (20, 20)


def test_a_pause_of_the_server_is_in_the_latency_of_all_that_were_due_in_it():
    pause, lock, paused = 0.4, threading.Lock(), []

    def respond(_: bytes) -> bytes:
        with lock:  # one at a time, as a server on one core
            if not paused:
                paused.append(True)
                time.sleep(pause)
        return WHOLE

    with server(respond) as port:
        load = play(port, [REQUEST], 50.0, 0.4)

    assert load.requests == 20
    assert load.p50_ms > 1e3 * pause / 4, "a closed loop would see one slow request"


def test_what_is_never_answered_is_an_error(monkeypatch):
    monkeypatch.setattr("benchmarks.serving.paced._DRAIN_SECONDS", 0.1)
    with server(lambda _: b"") as port, pytest.raises(ContenderFailedError, match="no answer"):
        play(port, [REQUEST], 50.0, 0.1)
