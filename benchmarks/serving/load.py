"""The load generators, each a process on a core of its own: wrk for REST, h2load for gRPC, a paced client for a given rate."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.figures import Load, percentile
from benchmarks.serving.open_inference import METHOD, framed
from benchmarks.serving.processes import ContenderFailedError
from benchmarks.serving.settings import LOAD_CORE, ROOT

CONNECTIONS = 4  # of gRPC: requests beyond them share them, as gRPC clients do
_SCRIPT = Path(__file__).parent / "wrk.lua"
_GRACE_SECONDS = 60.0
_PINNED = ("taskset", "-c", str(LOAD_CORE))
# Kafka's threads on the same core would else hold up the load generator for a scheduler's turn, and that would be
# measured as the server's latency
_AHEAD = ("chrt", "--fifo", "1")
_TOOLS = {
    "taskset": "util-linux",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a contender answers. `bodies`: for REST JSON, for gRPC encoded messages."""

    port: int
    path: str
    bodies: tuple[bytes, ...]
    priority: tuple[str, ...] = ()  # see `ahead`


def ahead() -> tuple[str, ...]:
    """What puts the load generator before all others on its core; nothing where that is not allowed."""
    if shutil.which(_AHEAD[0]) is None:
        return ()
    tried = subprocess.run([*_AHEAD, "true"], capture_output=True, check=False)
    return _AHEAD if tried.returncode == 0 else ()


def missing_tools() -> list[str]:
    """The Debian packages of the programs that are not there."""
    return [package for program, package in _TOOLS.items() if shutil.which(program) is None]


def rest(target: Target, concurrency: int, seconds: int) -> Load:
    """Closed loop: so many connections, each with one request under way."""
    with tempfile.TemporaryDirectory() as folder:
        bodies = _written(target, folder)
        command = [
            "wrk", "-t1", f"-c{concurrency}", f"-d{seconds}s", "--timeout", "30s", "-s", str(_SCRIPT),
            f"http://127.0.0.1:{target.port}{target.path}", "--", str(bodies),
        ]  # fmt: skip
        return read_wrk(_run(target, command, seconds))


def read_wrk(output: str) -> Load:
    """What `wrk.lua` has written last."""
    said = json.loads(output.strip().splitlines()[-1])
    return Load(
        seconds=said["seconds"],
        requests=said["requests"],
        errors=said["errors"],
        p50_ms=said["p50_ms"],
        p99_ms=said["p99_ms"],
    )


def paced(target: Target, rate: float, seconds: float) -> Load:
    """Open loop: requests begin when it is time, whether or not others have been answered; latency counts from then."""
    with tempfile.TemporaryDirectory() as folder:
        bodies = _written(target, folder)
        command = [
            sys.executable, "-m", "benchmarks.serving.paced", "--port", str(target.port),
            "--path", target.path, "--bodies", str(bodies), "--rate", f"{rate:g}", "--seconds", f"{seconds:g}",
        ]  # fmt: skip
        return Load(**json.loads(_run(target, command, seconds).strip().splitlines()[-1]))


def grpc(target: Target, concurrency: int, seconds: int, answer_bytes: int) -> Load:
    """Closed loop over few connections. An error is an answer without a message: `answer_bytes` is what one is long."""
    connections = min(CONNECTIONS, concurrency)
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(framed(target.bodies[0]))
        command = [
            "h2load", "-t1", f"-c{connections}", f"-m{concurrency // connections}", f"-D{seconds}",
            "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", str(body), "--log-file", str(log),
            f"http://127.0.0.1:{target.port}{METHOD}",
        ]  # fmt: skip
        output = _run(target, command, seconds)
        microseconds = [int(line.split("\t")[2]) for line in log.read_text().splitlines()]
    return read_h2load(output, microseconds, seconds, answer_bytes)


_REQUESTS = re.compile(
    r"^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, \d+ failed, \d+ errored",
    re.MULTILINE,
)
_DATA = re.compile(r"^traffic: .*\((\d+)\) data$", re.MULTILINE)


def read_h2load(output: str, microseconds: list[int], seconds: float, answer_bytes: int) -> Load:
    """h2load knows nothing of gRPC's status: what came without a message counts as an error."""
    counted, data = _REQUESTS.search(output), _DATA.search(output)
    if counted is None or data is None or not microseconds:
        raise ContenderFailedError(f"h2load has measured nothing:\n{output.strip()[-800:]}")
    done, succeeded = int(counted[1]), int(counted[2])
    answered = min(succeeded, int(data[1]) // (answer_bytes + len(framed(b""))))
    # answers vary in length by a digit or two; one in twenty without a message does not
    errors = done - answered if answered < 0.95 * done else done - succeeded
    latencies = sorted(microseconds)
    return Load(
        seconds=seconds,
        requests=done,
        errors=errors,
        p50_ms=percentile(latencies, 0.5) / 1e3,
        p99_ms=percentile(latencies, 0.99) / 1e3,
    )


def _written(target: Target, folder: str) -> Path:
    path = Path(folder) / "bodies"
    path.write_bytes(b"\n".join(target.bodies) + b"\n")
    return path


def _run(target: Target, command: list[str], seconds: float) -> str:
    try:
        answer = subprocess.run(
            [*_PINNED, *target.priority, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + _GRACE_SECONDS,
            cwd=ROOT,
        )
    except subprocess.TimeoutExpired as error:
        raise ContenderFailedError(f"{command[0]} did not end: the server hangs") from error
    if answer.returncode != 0:
        raise ContenderFailedError(
            f"{command[0]} failed: {(answer.stdout + answer.stderr).strip()[-800:]}"
        )
    return answer.stdout
