"""A real Kafka: starts, keeps its data when its ports move, and says why when it can't."""

import socket
import struct
from pathlib import Path
from threading import Thread

import pytest

from millrace_local.errors import LocalServerError
from millrace_local.install import kafka_jars
from millrace_local.kafka import LocalKafka
from millrace_local.ports import free_ports
from millrace_local.process import start


def new_kafka(home: Path) -> LocalKafka:
    port, controller_port = free_ports(2)
    return LocalKafka(home=home, port=port, controller_port=controller_port, jars=kafka_jars())


def answering(brokers: int) -> tuple[socket.socket, Thread]:
    """A broker that answers one metadata request with this many live brokers."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(struct.pack(">iii", 8, 7, brokers))

    thread = Thread(target=serve)
    thread.start()
    return listener, thread


@pytest.mark.parametrize(("brokers", "ready"), [(1, True), (0, False)])
def test_it_is_ready_when_it_counts_itself_as_alive(tmp_path: Path, brokers: int, ready: bool):
    listener, thread = answering(brokers)
    server = LocalKafka(tmp_path, listener.getsockname()[1], controller_port=1, jars=tmp_path)

    assert server.ready(0) is ready

    thread.join()
    listener.close()


def test_it_is_not_ready_when_nobody_listens(tmp_path: Path):
    (port,) = free_ports(1)

    assert not LocalKafka(tmp_path, port, controller_port=1, jars=tmp_path).ready(0.1)


@pytest.mark.broker
def test_it_keeps_its_cluster_when_its_ports_move(tmp_path: Path):
    first = new_kafka(tmp_path / "home")
    with start(first, tmp_path / "log"):
        cluster = (first.home / "cluster-id").read_text()

    second = new_kafka(tmp_path / "home")
    with start(second, tmp_path / "log") as running:
        assert running.alive
        assert (second.home / "cluster-id").read_text() == cluster
        assert cluster in (second.home / "data" / "meta.properties").read_text()


@pytest.mark.broker
def test_storage_of_another_cluster_is_refused_with_what_to_do(tmp_path: Path):
    server = new_kafka(tmp_path / "home")
    server.prepare()
    (server.home / "formatted").unlink()
    (server.home / "cluster-id").write_text("MDEyMzQ1Njc4OWFiY2RlZg")

    with pytest.raises(LocalServerError, match=r"remove that folder and try again"):
        server.prepare()


@pytest.mark.broker
def test_a_taken_port_shows_in_the_error(tmp_path: Path):
    server = new_kafka(tmp_path / "home")

    with (
        socket.create_server(("127.0.0.1", server.port)),
        pytest.raises(
            LocalServerError, match=r"(?s)kafka ended with exit code.*Address already in use"
        ),
    ):
        start(server, tmp_path / "log")
