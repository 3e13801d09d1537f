"""Unmodified clients of others against a running server. Each has an environment of its own: their packages are not ours."""

import asyncio
import fcntl
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import uvicorn

from millrace_serving.entrypoints.grpc_server import GrpcServer
from millrace_serving.entrypoints.http import app
from millrace_testkit.eventually import eventually, running
from millrace_testkit.settings import clients_folder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]  # the first run installs the clients

CLIENTS = Path(__file__).parents[1] / "clients"
STEP = 10_000.0
INPUTS = ["temp", "hum", "weather"]


def python_of(client: str) -> Path:
    """The interpreter of a client's environment, which is made anew when its lock has changed."""
    lock = CLIENTS / f"{client}.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    folder = clients_folder().resolve() / f"{client}-{digest[:12]}"
    python, uv = folder / "bin" / "python", Path(sys.executable).with_name("uv")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # several workers may want it at once
        if not (folder / "done").exists():
            steps = [
                [uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder],
                [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, lock],
            ]
            for step in steps:
                subprocess.run(step, check=True)
            (folder / "done").touch()
    return python


class Ports:
    """Listens as the service's process does: uvicorn and gRPC on one event loop."""

    def __init__(self, parts) -> None:
        self.ready = asyncio.Event()
        self.grpc = GrpcServer(parts, lambda: True, port=0)
        config = uvicorn.Config(app(parts, lambda: True), port=0, log_config=None, lifespan="off")
        self.http = uvicorn.Server(config)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.grpc.run())
            tasks.create_task(self._serve())
            await eventually(lambda: self.http.started and self.grpc.ready.is_set(), within=30)
            self.ready.set()

    async def _serve(self) -> None:
        try:
            await self.http.serve()
        finally:  # uvicorn leaves its socket open when it is cancelled
            await self.http.shutdown()

    @property
    def numbers(self) -> list[str]:
        [listening] = self.http.servers
        return [str(listening.sockets[0].getsockname()[1]), str(self.grpc.port)]


@pytest.fixture
async def ask(bed) -> Callable:
    """Runs a client's script against an instance with a model, and gives what it was told."""
    await bed.promote(1, epoch=1)
    async with bed.serving() as parts:
        await bed.deployed(1)
        ports = Ports(parts)
        async with running(ports):
            await ports.ready.wait()

            async def run(client: str) -> dict:
                python = await asyncio.to_thread(python_of, client)
                script = CLIENTS / f"ask_with_{client}.py"
                child = await asyncio.create_subprocess_exec(
                    python, "-W", "ignore", script, "127.0.0.1", *ports.numbers, "bikes",
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={},
                )  # fmt: skip
                said, complained = await child.communicate()
                assert child.returncode == 0, complained.decode()[-4_000:]
                return json.loads(said)

            yield run


async def test_tritonclient_is_answered_in_every_form_that_it_speaks(bed, ask):
    told = await ask("tritonclient")

    http, grpc = told["http"], told["grpc"]
    for answers in (http, grpc):
        assert [answers[one] for one in ("live", "ready", "model_ready")] == [True] * 3
        assert answers["server"]["extensions"] == [
            "binary_tensor_data",
            "model_repository",
            "statistics",
        ]
        assert [tensor["name"] for tensor in answers["model"]["inputs"]] == INPUTS
        assert (answers["binary"]["value"], answers["binary"]["version"]) == ([STEP, STEP + 1], "1")
        assert answers["version"]["value"] == [STEP, STEP + 1]
        assert "no pipeline 'nothing'" in answers["unknown"]
        assert "missing inputs: hum, weather" in answers["incomplete"]
    assert (http["binary"]["id"], grpc["binary"]["id"]) == ("triton-1", "triton-2")
    for form in ("json", "binary_in_json_out", "json_in_binary_out"):
        assert http[form]["value"] == [STEP, STEP + 1], form
    assert grpc["output"]["value"] == [STEP, STEP + 1]
    assert (http["later"]["id"], http["later"]["value"]) == ("later", [STEP])
    assert [*http["compressed"].values(), grpc["compressed"]] == [STEP + 499] * 4
    entry = {"name": "bikes", "version": "1", "state": "READY"}
    assert http["index"] == [entry | {"reason": ""}]
    assert grpc["index"] == {"models": [entry]}
    executions = http["statistics"]
    assert (executions, http["all_statistics"]) == (9, 1)
    [model] = grpc["statistics"]["model_stats"]
    assert model["inference_stats"]["fail"]["count"] == "2"
    assert int(model["execution_count"]) == executions + 4
    assert (
        len(
            {one.event_id for one in bed.predictions()} & {"triton-1/0", "triton-1/1", "triton-2/0"}
        )
        == 3
    )


async def test_kserves_client_is_answered_in_every_form_that_it_speaks(bed, ask):
    told = await ask("kserve")

    http, grpc = told["http"], told["grpc"]
    for answers, forms, identity in (
        (http, ("json", "binary"), "kserve-1"),
        (grpc, ("raw", "typed"), "kserve-2"),
    ):
        assert [answers[one] for one in ("live", "ready", "model_ready")] == [True] * 3
        for form in forms:
            assert (answers[form]["value"], answers[form]["id"]) == ([STEP, STEP + 1], identity)
    assert grpc["raw"]["version"] == "1"  # over HTTP the client itself drops it
    assert "404" in http["unknown"]
    assert "NOT_FOUND" in grpc["unknown"]
    assert len(bed.predictions()) == 8
