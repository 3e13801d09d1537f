"""A whole stack of one's own in a temporary folder: broker, database and services on free ports, every process in reach."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx2
import psutil
import psycopg
from tests.chaos.blueprint import SERVICES, SQL_SERVICES, STREAM_SERVICES, Blueprint, Store, Trick
from tests.chaos.disk import SmallDisk
from tests.chaos.history import NAME, PIPELINE
from tests.chaos.processes import Command, Managed
from tests.chaos.proxy import Proxy
from tests.chaos.tricks import TRICKS_VARIABLE, written

from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_local.install import kafka_jars
from millrace_local.java import find_java
from millrace_local.kafka import LocalKafka
from millrace_local.ports import free_port, free_ports
from millrace_local.postgres import LocalPostgres
from millrace_local.process import tail

ROOT = Path(__file__).parents[2]
KAFKA, POSTGRES = "kafka", "postgres"
START_SECONDS = 120.0
_POLL_SECONDS = 0.05
_INHERITED = ("PATH", "HOME", "LANG", "JAVA_HOME", "MILLRACE_JARS", "TMPDIR")


class NotReadyError(RuntimeError):
    """A part of the stack did not come up, or did not come back."""


class World:
    """Use as an async context manager: nothing it started outlives the block."""

    def __init__(self, home: Path, blueprint: Blueprint) -> None:
        self.home = home
        self.blueprint = blueprint
        self.processes: dict[str, Managed] = {}
        self.ports: dict[str, int] = {}
        self.grpc: dict[str, int] = {}
        self.proxy: Proxy | None = None
        self.http = httpx2.AsyncClient(timeout=httpx2.Timeout(10.0))
        self._disk: SmallDisk | None = None
        self._kafka, self._postgres = self._new_kafka(), self._new_postgres()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.proxy.port if self.proxy else self._kafka.port}"

    @property
    def broker(self) -> KafkaBroker:
        """A broker client of the harness's own."""
        return KafkaBroker(KafkaSettings(self.bootstrap, client_id="chaos"))

    def instances(self, service: str) -> list[str]:
        return [f"{service}-{n}" for n in range(self.blueprint.instances.get(service, 1))]

    def instance(self, name: str) -> Managed:
        """By the name of a process: kafka, postgres, or a service's instance such as features-0."""
        return self.processes[name]

    def url(self, instance: str) -> str:
        return f"http://127.0.0.1:{self.ports[instance]}"

    @property
    def objects(self) -> str:
        """The URL of the object store."""
        return f"file://{self.home.resolve() / 'objects'}"

    def state_folder(self, instance: str) -> Path:
        return self.home / "state" / instance

    def database_url(self, service: str) -> str:
        if self._postgres is not None:
            return self._postgres.url(f"millrace_{service}")
        return f"sqlite:///{self.home / service / f'{service}.db'}"

    async def __aenter__(self) -> "World":
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def wait_ready(self, name: str, within: float = START_SECONDS) -> None:
        """Raises NotReadyError with the end of its log."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while not await self.is_ready(name):
            if loop.time() > deadline:
                log = self.processes[name].log
                raise NotReadyError(
                    f"{name} is not ready after {within:g} s; its log is {log}:\n{tail(log)}"
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def is_ready(self, name: str) -> bool:
        if name == KAFKA:
            return await asyncio.to_thread(self._kafka.ready, 0.0)
        if name == POSTGRES:
            assert self._postgres is not None
            return await asyncio.to_thread(self._postgres.ready, 0.0)
        try:
            answer = await self.http.get(f"{self.url(name)}/health/ready", timeout=2.0)
        except httpx2.HTTPError:
            return False
        return answer.status_code == 200

    async def metric(self, instance: str, name: str) -> float | None:
        """The sum of a metric over its labels in this process's life; None when it does not answer."""
        try:
            answer = await self.http.get(f"{self.url(instance)}/metrics", timeout=2.0)
        except httpx2.HTTPError:
            return None
        return sum(
            float(line.rpartition(" ")[2])
            for line in answer.text.splitlines()
            if line.startswith(name) and line[len(name)] in "{ "
        )

    async def joined(self) -> int | None:
        """How many answers met their labels, by what monitoring says; None when it does not answer."""
        for instance in self.instances("monitoring"):
            try:
                answer = await self.http.get(
                    f"{self.url(instance)}/v1/pipelines/{NAME}/status", timeout=2.0
                )
            except httpx2.HTTPError:
                continue
            if answer.status_code == 200:
                return sum(version["events"] for version in answer.json()["versions"].values())
        return None

    def deaths(self) -> dict[str, int]:
        """How often each process was started again."""
        return {name: process.starts - 1 for name, process in self.processes.items()}

    def processor_seconds(self) -> dict[str, float]:
        """Processor time of each process that runs, with that of its children, and our own."""
        ours = psutil.Process().cpu_times()
        seconds = {"harness": ours.user + ours.system}
        for name, process in self.processes.items():
            with suppress(psutil.NoSuchProcess):
                family = [psutil.Process(process.pid)]
                family += family[0].children(recursive=True)
                times = [member.cpu_times() for member in family]
                seconds[name] = sum(time.user + time.system for time in times)
        return {name: round(value, 1) for name, value in seconds.items()}

    async def _start(self) -> None:
        if self.blueprint.proxied:
            self.proxy = Proxy(free_port(), self._kafka.port)
            await self.proxy.start()
        await asyncio.to_thread(self._prepare_kafka)
        await self._launch(KAFKA, self._server_command(self._kafka))
        if self._postgres is not None:
            await asyncio.to_thread(self._postgres.prepare)
            await self._launch(POSTGRES, self._server_command(self._postgres))
            await self.wait_ready(POSTGRES)
            await asyncio.to_thread(self._create_databases)
        await self.wait_ready(KAFKA)
        if self.blueprint.small_disk is not None:
            self._disk = SmallDisk(self.state_folder(f"{self.blueprint.small_disk}-0"))
            self._disk.mount()
        names = [name for service in SERVICES for name in self.instances(service)]
        serving = self.instances("serving")
        free = free_ports(len(names) + len(serving))
        self.ports.update(zip(names, free, strict=False))
        self.grpc.update(zip(serving, free[len(names) :], strict=True))
        later = [n for service in SQL_SERVICES for n in self.instances(service)[1:]]
        for name in names:
            if name not in later:
                await self._launch(name, self._service_command(name))
        for name in later:
            await self.wait_ready(f"{name.partition('-')[0]}-0")  # the first makes the tables
            await self._launch(name, self._service_command(name))
        await asyncio.gather(*(self.wait_ready(name) for name in names))
        answer = await self.http.post(
            f"{self.url('registry-0')}/v1/pipelines",
            content=PIPELINE.encode(),
            headers={"content-type": "application/yaml"},
            timeout=60.0,
        )
        if answer.status_code >= 300:
            raise NotReadyError(f"the pipeline was refused: {answer.text}")

    async def _stop(self) -> None:
        servers = {KAFKA, POSTGRES}
        services = [p for name, p in self.processes.items() if name not in servers]
        await asyncio.gather(*(process.stop() for process in services))
        await asyncio.gather(*(p.stop() for name, p in self.processes.items() if name in servers))
        if self.proxy is not None:
            await self.proxy.stop()
        if self._disk is not None:
            self._disk.unmount()
        await self.http.aclose()

    async def _launch(self, name: str, command: Command) -> None:
        process = Managed(name, command, self.home / "logs" / f"{name}.log")
        self.processes[name] = process
        await process.start()

    def _new_kafka(self) -> LocalKafka:
        port, controller = free_ports(2)
        return LocalKafka(
            home=self.home / KAFKA,
            port=port,
            controller_port=controller,
            jars=kafka_jars(),
            java=str(find_java()),
        )

    def _new_postgres(self) -> LocalPostgres | None:
        if self.blueprint.store is not Store.POSTGRES:
            return None
        return LocalPostgres(home=self.home / POSTGRES, port=free_port())

    def _prepare_kafka(self) -> None:
        self._kafka.prepare()
        if self.proxy is not None:  # clients are sent to the proxy by the broker's own word
            properties = self._kafka.home / "server.properties"
            said, meant = (
                f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}"
                for port in (self._kafka.port, self.proxy.port)
            )
            properties.write_text(properties.read_text().replace(said, meant))

    def _create_databases(self) -> None:
        assert self._postgres is not None
        url = self._postgres.url().replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(url, autocommit=True) as connection:
            for service in SQL_SERVICES:
                connection.execute(f"CREATE DATABASE millrace_{service}")

    def _server_command(self, server: LocalKafka | LocalPostgres) -> Command:
        environment = _inherited() | dict(server.environment())
        stop = signal.Signals(server.stop_signal)
        return Command(server.command(), environment, Path("/"), server.run_as, stop)

    def _service_command(self, instance: str) -> Command:
        service = instance.partition("-")[0]
        tricks = (Trick("tell-stacks"), *self.blueprint.tricks.get(service, ()))
        told = {TRICKS_VARIABLE: written(tricks, self.home / "tricks" / service)}
        environment = _inherited() | self._environment(service, instance) | told
        return Command([sys.executable, "-m", "tests.chaos.launcher", service], environment, ROOT)

    def tell_stacks(self) -> None:
        """Have every service write into its log what its threads are doing."""
        for name, process in self.processes.items():
            if name not in (KAFKA, POSTGRES) and process.runs:
                process.send(signal.SIGUSR1)

    def _environment(self, service: str, instance: str) -> Mapping[str, str]:
        """What this instance is told."""
        upper = service.upper()
        said = {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA_SESSION_TIMEOUT_SECONDS": f"{self.blueprint.session_timeout:g}",
            "MILLRACE_HOME": str(self.home),
            "OTEL_TRACES_EXPORTER": "none",
            "PYTHONUNBUFFERED": "1",
            "STATE_SNAPSHOT_SECONDS": "10",
            f"{upper}_PORT": str(self.ports[instance]),
        }
        if service == "serving":
            said |= {"SERVING_INSTANCE": instance, "SERVING_GRPC_PORT": str(self.grpc[instance])}
        if service in STREAM_SERVICES:
            said[f"{upper}_STATE_DIR"] = str(self.state_folder(instance))
        else:
            said[f"{upper}_DATABASE_URL"] = self.database_url(service)
        return said


def _inherited() -> dict[str, str]:
    """What a user's shell would hand on."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}  # noqa: TID251
