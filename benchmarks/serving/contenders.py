"""Who takes part: how each is started, asked and understood."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.figures import (
    FLOORS,
    GRPC,
    MILLRACE,
    MILLRACE_GRPC,
    MLSERVER,
    MLSERVER_GRPC,
    REST,
)
from benchmarks.serving.workload import NAME, open_inference, under

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True, slots=True)
class Place:
    """What a contender is given for one turn: a folder of its own, free ports, its environment's programs, the model's file.

    `millrace` is what Millrace's services are told of Kafka and their home.
    """

    folder: Path
    ports: Sequence[int]
    programs: Path
    model: Path
    millrace: Mapping[str, str]

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def python(self) -> str:
        return str(self.programs / "python")


def _nothing(place: Place) -> None:
    """Most need nothing before they start."""


def _no_variables(place: Place) -> Mapping[str, str]:  # noqa: ARG001  the others' signature
    return {}


@dataclass(frozen=True, slots=True)
class Contender:
    """`environment` names the peer's requirements; None: Millrace's own environment. `constant`: answers without a model."""

    name: str
    title: str
    protocol: str
    environment: str | None
    command: Callable[[Place], Sequence[str]]
    path: str = ""
    body: Callable[[list[float]], bytes] = open_inference
    tensor: str = "features"
    prepare: Callable[[Place], Sequence[str] | None] = _nothing
    variables: Callable[[Place], Mapping[str, str]] = _no_variables
    constant: bool = False
    listens_at: int = 0  # which of its ports is asked

    @property
    def is_ours(self) -> bool:
        return self.name in (MILLRACE, MILLRACE_GRPC)

    @property
    def is_needed(self) -> bool:
        """Whether the run fails when it does: without these there is nothing to compare."""
        return self.constant or self.name == MILLRACE


def _rows(row: list[float]) -> bytes:
    return under("rows", row)


def _inputs(row: list[float]) -> bytes:
    return under("inputs", row)


def _model_variable(place: Place) -> Mapping[str, str]:
    return {"BENCH_MODEL": str(place.model), "PYTHONPATH": str(PEERS)}


def _millrace(place: Place) -> Mapping[str, str]:
    ports = {"SERVING_PORT": str(place.ports[0]), "SERVING_GRPC_PORT": str(place.ports[1])}
    return {**place.millrace, **ports, "PYTHONPATH": ":".join(path for path in sys.path if path)}


def _mlserver_files(place: Place) -> None:
    """No worker process: on one core it would only add a hop."""
    settings = {
        "host": "127.0.0.1",
        "http_port": place.ports[0],
        "grpc_port": place.ports[1],
        "metrics_port": place.ports[2],
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": NAME,
        "implementation": "mlserver_xgboost.XGBoostModel",
        "parameters": {"uri": str(place.model), "version": "1"},
    }
    (place.folder / "settings.json").write_text(json.dumps(settings))
    (place.folder / "model-settings.json").write_text(json.dumps(model))


def _mlserver(name: str, protocol: str, listens_at: int) -> Contender:
    return Contender(
        name,
        f"MLServer{' gRPC' if protocol == GRPC else ''}",
        protocol,
        "mlserver",
        lambda place: [str(place.programs / "mlserver"), "start", str(place.folder)],
        path=f"/v2/models/{NAME}/infer",
        prepare=_mlserver_files,
        listens_at=listens_at,
    )


def _ours(name: str, protocol: str, listens_at: int) -> Contender:
    return Contender(
        name,
        f"Millrace{' gRPC' if protocol == GRPC else ''}",
        protocol,
        None,
        lambda _: [sys.executable, "-m", "millrace_serving"],
        path=f"/v2/models/{NAME}/infer",
        variables=_millrace,
        listens_at=listens_at,
    )


def _floor(protocol: str, script: str, title: str) -> Contender:
    return Contender(
        FLOORS[protocol],
        title,
        protocol,
        None,
        lambda place: [sys.executable, str(PEERS / script), str(place.port)],
        path="/constant",
        constant=True,
    )


CONTENDERS = (
    _floor(REST, "floor_http.py", "uvicorn, a constant"),
    _ours(MILLRACE, REST, 0),
    Contender(
        "fastapi",
        "FastAPI + XGBoost",
        REST,
        "fastapi",
        lambda place: [
            place.python,
            "-m",
            "uvicorn",
            "fastapi_app:app",
            "--port",
            str(place.port),
            "--no-access-log",
        ],
        path="/predict",
        body=_rows,
        variables=_model_variable,
    ),
    _mlserver(MLSERVER, REST, 0),
    Contender(
        "mlflow",
        "MLflow models serve",
        REST,
        "mlflow",
        lambda place: [
            str(place.programs / "mlflow"),
            "models",
            "serve",
            "-m",
            str(place.model.with_name("mlflow")),
            "-h",
            "127.0.0.1",
            "-p",
            str(place.port),
            "--env-manager",
            "local",
            "--workers",
            "1",
        ],
        path="/invocations",
        body=_inputs,
        prepare=lambda place: [
            place.python,
            str(PEERS / "mlflow_model.py"),
            str(place.model),
            str(place.model.with_name("mlflow")),
        ],
        variables=lambda _: {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
            "UVICORN_ACCESS_LOG": "false",  # as with all others
        },
    ),
    Contender(
        "bentoml",
        "BentoML",
        REST,
        "bentoml",
        lambda place: [
            str(place.programs / "bentoml"),
            "serve",
            "bentoml_service:Collisions",
            "--host",
            "127.0.0.1",
            "--port",
            str(place.port),
            "--working-dir",
            str(PEERS),
        ],
        path="/predict",
        body=_rows,
        variables=lambda place: {
            **_model_variable(place),
            "BENTOML_DO_NOT_TRACK": "true",
            "BENTOML_HOME": str(place.folder),
            "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
        },
    ),
    Contender(
        "ray",
        "Ray Serve",
        REST,
        "ray",
        lambda place: [place.python, str(PEERS / "ray_app.py"), str(place.port), str(place.folder)],
        path="/predict",
        body=_rows,
        variables=lambda place: {
            **_model_variable(place),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "180",
        },
    ),
    _floor(GRPC, "floor_grpc.py", "grpc.aio, a constant"),
    _ours(MILLRACE_GRPC, GRPC, 1),
    _mlserver(MLSERVER_GRPC, GRPC, 1),
)
