"""A real Apache Kafka on this machine: one KRaft node, broker and controller in one process."""

import base64
import secrets
import signal
import socket
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from string import Template

from millrace_local.errors import LocalServerError
from millrace_local.infra import infra_folder
from millrace_local.probes import wait_until

# Measured on two cores: C1 code and the serial collector start 0.7 s sooner than the defaults, with a third
# less processor time and 60 MB less memory. Throughput varied more from run to run than between the settings.
_JVM_FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
)

_METADATA, _METADATA_VERSION, _CORRELATION = 3, 1, 7
_FORMAT_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class LocalKafka:
    """One Kafka node that keeps its data in `home` and listens on 127.0.0.1 only.

    `jars` is the folder that `install.kafka_jars()` returns. The ports may differ from start to start.
    """

    home: Path
    port: int
    controller_port: int
    jars: Path
    heap: str = "512m"
    java: str = "java"
    infra: Path | None = None

    name = "kafka"
    run_as = None
    stop_signal = signal.SIGTERM

    @property
    def bootstrap(self) -> str:
        """What a Kafka client calls `bootstrap_servers`."""
        return f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Write the configuration, and format the storage if it hasn't been."""
        data = self.home / "data"
        data.mkdir(parents=True, exist_ok=True)
        template = Template((self._infra() / "kafka" / "server.properties.template").read_text())
        ports = {"port": self.port, "controller_port": self.controller_port}
        self._properties.write_text(template.substitute(ports, data=data.resolve()))
        formatted = self.home / "formatted"
        if not formatted.exists():
            self._format()
            formatted.touch()

    def command(self) -> list[str]:
        return [*self._java(f"-Xmx{self.heap}"), "kafka.Kafka", str(self._properties)]

    def environment(self) -> dict[str, str]:
        return {"LC_ALL": "C.UTF-8"}

    def ready(self, timeout: float) -> bool:
        """Whether the broker answers a metadata request in which it counts itself as alive."""
        return wait_until(lambda: _live_brokers(self.port) > 0, timeout)

    @property
    def _properties(self) -> Path:
        return self.home.resolve() / "server.properties"

    def _infra(self) -> Path:
        return self.infra or infra_folder()

    def _java(self, *flags: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._infra() / 'kafka' / 'log4j2.yaml'}"
        return [self.java, *_JVM_FLAGS, *flags, logging, "-cp", f"{self.jars.resolve()}/*"]

    def _format(self) -> None:
        tool = [*self._java("-Xmx128m"), "kafka.tools.StorageTool"]
        # --ignore-formatted: a format that was killed half-way is completed by the next one
        arguments = [
            "format",
            "--ignore-formatted",
            "-t",
            self._cluster_id(),
            "-c",
            str(self._properties),
        ]
        answer = subprocess.run(
            [*tool, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_FORMAT_TIMEOUT_SECONDS,
        )
        if answer.returncode != 0:
            raise LocalServerError(
                f"Kafka could not format its storage in {self.home}; if nothing in it is needed, remove that folder "
                f"and try again:\n{(answer.stdout + answer.stderr).strip()}"
            )

    def _cluster_id(self) -> str:
        """A new id the first time, from then on the same one."""
        kept = self.home / "cluster-id"
        if not kept.exists():
            kept.write_text(_new_cluster_id())
        return kept.read_text().strip()


def _new_cluster_id() -> str:
    """16 random bytes in base64; Kafka refuses a leading dash."""
    text = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
    return "M" + text[1:]


def _live_brokers(port: int) -> int:
    """How many live brokers the one on `port` knows; 0 if it does not answer.

    An empty Metadata v1 request (https://kafka.apache.org/protocol): a Kafka client library is not needed for it, and
    a broker that accepts connections but isn't registered yet answers with an empty list.
    """
    body = struct.pack(">hhihi", _METADATA, _METADATA_VERSION, _CORRELATION, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            answer = connection.recv(12, socket.MSG_WAITALL)
    except OSError:
        return 0  # not listening yet
    if len(answer) < 12:
        return 0
    _, correlation, brokers = struct.unpack(">iii", answer)
    return int(brokers) if correlation == _CORRELATION else 0
