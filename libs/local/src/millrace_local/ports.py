"""Free TCP ports of this machine."""

import secrets
import socket
from contextlib import ExitStack

from millrace_local.errors import LocalServerError

# Below the range from which Linux and macOS take the ports of outgoing connections: between our look and the server's
# start, nothing but another server can take such a port.
_FIRST, _LAST = 20_000, 32_000
_ATTEMPTS = 1_000


def free_port() -> int:
    """One port that nothing listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """`count` different ports that nothing listens on."""
    found: list[int] = []
    with ExitStack() as held:  # held until all are found, so that they differ
        for _ in range(_ATTEMPTS):
            if len(found) == count:
                return found
            candidate = _FIRST + secrets.randbelow(_LAST - _FIRST)
            listener = held.enter_context(socket.socket())
            try:
                listener.bind(("127.0.0.1", candidate))
            except OSError:
                continue  # taken
            found.append(candidate)
    raise LocalServerError(
        f"Found only {len(found)} of {count} free ports in {_FIRST}-{_LAST} on 127.0.0.1: end what listens there."
    )
