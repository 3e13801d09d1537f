"""Free ports are free, and different."""

import socket

from millrace_local.ports import free_port, free_ports


def test_ports_differ():
    assert len(set(free_ports(50))) == 50


def test_a_port_can_be_listened_on():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
