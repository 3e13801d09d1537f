"""Who is compared: how each is started, what it reads, what it writes, and how its answers are read."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stream.environments import environment, version_of
from benchmarks.stream.processes import Command
from benchmarks.stream.workload import PIPELINE

from millrace_local.ports import free_ports
from millrace_proto.v1.predictions_pb2 import PredictionMade

PEERS = Path(__file__).parent / "peers"
MILLRACE, QUIX, BYTEWAX = "millrace", "quix", "bytewax"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run of one contender happens."""

    bootstrap: str
    folder: Path  # of this run
    home: Path  # of Millrace, for all runs
    benchmarks: Path  # where environments are kept
    model: Path  # ONNX
    number: int
    inherited: Mapping[str, str]
    linger_ms: int  # of the peers' producers: what suits the run
    processes: int  # of the peers, where more cores need more of them


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    title: str
    commands: Callable[[Place], Sequence[Command]]
    topics: Callable[[int], tuple[str, str]]  # of a run's number: raw events, answers
    read: Callable[[bytes], float]  # a value of the answers' topic
    shares_out: bool = False  # its processes deal the partitions out anew when one more has come


def millrace_commands(place: Place) -> Sequence[Command]:
    """One process each; all settings as by default, but for addresses and folders.

    And but for the online store, which keeps every entity's newest vector for answers by entity over HTTP: something
    that the peers don't do, and that no prediction of the stream needs.
    """
    ports = free_ports(6)
    shared = {
        **place.inherited,
        "PYTHONPATH": ":".join(path for path in sys.path if path),
        "KAFKA_BOOTSTRAP_SERVERS": place.bootstrap,
        "KAFKA_SESSION_TIMEOUT_SECONDS": "45",  # they stand still while a run is laid out
        "MILLRACE_HOME": str(place.home),
        "INGESTION_PORT": str(ports[0]),
        "FEATURES_PORT": str(ports[1]),
        "SERVING_PORT": str(ports[2]),
        "SERVING_GRPC_PORT": str(ports[3]),
        "SERVING_ONLINE_STORE": "false",
    }
    return [
        Command(name, [sys.executable, "-m", f"millrace_{name}"], shared)
        for name in ("ingestion", "features", "serving")
    ]


def _millrace_answer(value: bytes) -> float:
    return PredictionMade.FromString(value).value


def _json_answer(value: bytes) -> float:
    return float(json.loads(value)["prediction"])


def _peer_topics(name: str) -> Callable[[int], tuple[str, str]]:
    return lambda number: (f"bench.{name}.in.{number}", f"bench.{name}.out.{number}")


def _peer_variables(name: str, place: Place, process: int) -> dict[str, str]:
    source, target = _peer_topics(name)(place.number)
    state = place.folder / f"state-{process}"
    state.mkdir(parents=True, exist_ok=True)
    return {
        **place.inherited,
        "PYTHONPATH": str(PEERS),
        "BENCH_BOOTSTRAP": place.bootstrap,
        "BENCH_INPUT": source,
        "BENCH_OUTPUT": target,
        "BENCH_GROUP": f"bench-{name}-{place.number}",
        "BENCH_STATE": str(state),
        "BENCH_MODEL": str(place.model),
        "BENCH_LINGER_MS": str(place.linger_ms),
    }


def quix_commands(place: Place) -> Sequence[Command]:
    python = str(environment(QUIX, place.benchmarks) / "bin" / "python")
    return [
        Command(
            f"{QUIX}-{process}",
            [python, str(PEERS / "quix_app.py")],
            _peer_variables(QUIX, place, process),
        )
        for process in range(place.processes)
    ]


def bytewax_commands(place: Place) -> Sequence[Command]:
    """With a recovery store: without one it would not go on where it was."""
    python = str(environment(BYTEWAX, place.benchmarks) / "bin" / "python")
    recovery = place.folder / "recovery"
    recovery.mkdir(parents=True, exist_ok=True)
    prepare = f"import bytewax.recovery as r; r.init_db_dir({str(recovery)!r}, {place.processes})"
    addresses = ";".join(f"127.0.0.1:{port}" for port in free_ports(place.processes))
    run = [
        python,
        "-m",
        "bytewax.run",
        "bytewax_flow:flow",
        "-r",
        str(recovery),
        "-s",
        "10",
        "-b",
        "0",
    ]
    commands = []
    for process in range(place.processes):
        cluster = ["-i", str(process), "-a", addresses] if place.processes > 1 else []
        variables = _peer_variables(BYTEWAX, place, process)
        commands.append(Command(f"{BYTEWAX}-{process}", [*run, *cluster], variables))
    _once(python, prepare)
    return commands


def _once(python: str, code: str) -> None:
    subprocess.run([python, "-c", code], check=True, capture_output=True, timeout=60)


def contenders() -> Sequence[Contender]:
    return (
        Contender(
            MILLRACE,
            "Millrace (ingestion, features, serving)",
            millrace_commands,
            lambda _: (PIPELINE.topic, "millrace.predictions"),
            _millrace_answer,
        ),
        Contender(
            QUIX,
            f"Quix Streams {version_of(QUIX, 'quixstreams')}",
            quix_commands,
            _peer_topics(QUIX),
            _json_answer,
            shares_out=True,
        ),
        Contender(
            BYTEWAX,
            f"Bytewax {version_of(BYTEWAX, 'bytewax')}",
            bytewax_commands,
            _peer_topics(BYTEWAX),
            _json_answer,
        ),
    )
